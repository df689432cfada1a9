//! A core that is recorded, as the engine's heart.

use std::net::IpAddr;

use crate::cluster;
use crate::cluster::event::{Input, Output};
use crate::cluster::message::Beat;
use crate::cluster::recording::{Act, Recorder};
use crate::engine::Heart;
use crate::names::GroupId;
use crate::time::Instant;

impl Heart for Recorder {
    type View = cluster::View;

    fn handle(&mut self, now: Instant, input: Input) {
        self.act(now, Act::Input(input));
    }

    fn poll(&mut self) -> Option<Output> {
        self.poll()
    }

    fn deadline(&self) -> (Instant, &'static str) {
        self.core().deadline()
    }

    fn farewell(&self) -> Beat {
        self.core().farewell()
    }

    fn set_via(&mut self, group: GroupId, via: Option<IpAddr>) {
        self.act(self.now(), Act::Via(group, via));
    }

    fn in_doubt(&self) -> bool {
        self.core().in_doubt()
    }

    fn view(&self, now: Instant) -> cluster::View {
        self.core().view(now)
    }
}
