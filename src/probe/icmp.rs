//! The ping check.

use std::net::IpAddr;

use super::Deadline;
use crate::lvs::check::CheckFailure;

pub(super) async fn check(_address: IpAddr, _deadline: Deadline) -> Result<(), CheckFailure> {
    Err(CheckFailure::Local("ping is not available".to_owned()))
}
