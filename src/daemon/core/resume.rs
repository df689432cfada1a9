//! The other side of a restart with everything held: the next process looks whether what it was
//! left is so, and holds it. Nothing is started; what is not as it was left is released, and the
//! cluster decides anew.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::time::timeout;
use tracing::{info, warn};

use crate::cluster::Carried;
use crate::cluster::event::{Manner, Operation, Outcome};
use crate::config::{Config, Group, ResourceKind};
use crate::daemon::chronicle::Chronicle;
use crate::daemon::hands::Hands;
use crate::daemon::{Fatal, Paths, work};
use crate::exec::script::{self, Status, Surroundings};
use crate::journal::Happening;
use crate::names::GroupName;
use crate::store::carried::{self, Leaving};
use crate::sys::clock;

/// What this process goes on with.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// For the cluster; `None`: an ordinary start.
    pub(super) carried: Option<Carried>,
    /// Groups whose every resource is up.
    pub(super) held: BTreeSet<GroupName>,
    /// The addresses in them.
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// Takes over what the process before has left, and releases everything else: the first beat says
/// what is held here.
///
/// # Errors
/// Something may be up and can't be released.
pub(super) async fn begin(
    (paths, config): (&Paths, &Config),
    (hands, surroundings): (&Hands, &Surroundings),
    chronicle: &Chronicle,
) -> Result<Resumed, Fatal> {
    let found = carried::take(&paths.carried_file(), config).unwrap_or_else(|why| {
        chronicle.tell(Happening::CarriedRefused { why: why.to_string() });
        None
    });
    let mut resumed = Resumed::default();
    let mut left_behind: BTreeSet<IpAddr> = config.addresses().collect();
    if let Some(found) = found {
        left_behind.extend(&found.addresses);
        let limit = found.carried.left(clock::now());
        // Late: the peer acts on its own now.
        let looked = timeout(limit, adopt(config, (hands, surroundings), found)).await;
        match looked {
            Ok(adopted) => resumed = adopted,
            Err(_) => chronicle.tell(Happening::CarriedRefused {
                why: "looking after what is held took too long".to_owned(),
            }),
        }
    }
    let stray: Vec<IpAddr> = left_behind.difference(&resumed.addresses).copied().collect();
    for ip in &stray {
        hands.hush(*ip).await;
    }
    if let Some(error) = hands.sweep(&stray).await.first() {
        return Err(Fatal::System(format!("a stray address can't be removed: {error}")));
    }
    work::settle_scripts(config, surroundings, &resumed.held).await?;
    if let Some(carried) = &resumed.carried {
        let held: Vec<String> = resumed.held.iter().map(ToString::to_string).collect();
        info!(
            "goes on for the process before, {} ms before its time",
            carried.left(clock::now()).as_millis()
        );
        chronicle.tell(Happening::CoreResumed { held });
    }
    Ok(resumed)
}

/// Looks at every group that was held.
async fn adopt(
    config: &Config,
    (hands, surroundings): (&Hands, &Surroundings),
    found: Leaving,
) -> Resumed {
    let Leaving { mut carried, resources, .. } = found;
    let mut resumed = Resumed::default();
    for left in carried.groups.iter_mut().filter(|left| left.held) {
        let group = config.groups.iter().find(|group| group.name == left.name);
        let same = group.filter(|it| resources.get(&left.name) == Some(&carried::texts(it)));
        let up = match same {
            Some(group) => is_up(group, (hands, surroundings)).await,
            None => Err("the configuration has other resources for it now".to_owned()),
        };
        match (up, same) {
            (Ok(addresses), Some(_)) => {
                resumed.addresses.extend(addresses);
                resumed.held.insert(left.name.clone());
            }
            (Err(why), _) => {
                warn!("{} is not as it was left, and is released: {why}", left.name);
                left.held = false;
            }
            (Ok(_), None) => {}
        }
    }
    resumed.carried = Some(carried);
    resumed
}

/// The group's addresses, when everything of it is up. An address is announced from here on.
async fn is_up(
    group: &Group,
    (hands, surroundings): (&Hands, &Surroundings),
) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::new();
    for resource in &group.resources {
        match &resource.kind {
            ResourceKind::Address(address) => {
                let held = hands.perform(resource, Operation::Start, Manner::Alone).await;
                if let Outcome::Failed(why) = held {
                    return Err(format!("{}: {why}", resource.text));
                }
                addresses.push(address.ip);
            }
            // As warm as on any node; and the sync has a keeper.
            ResourceKind::Director(_) | ResourceKind::Sync(_) | ResourceKind::Mail(_) => {}
            ResourceKind::Announce(_) => {
                let held = hands.perform(resource, Operation::Start, Manner::Alone).await;
                if let Outcome::Failed(why) = held {
                    return Err(format!("{}: {why}", resource.text));
                }
            }
            ResourceKind::Script(program) => {
                let limit = resource.start_timeout;
                match script::status(program, surroundings, limit).await {
                    Ok(Status::Running) => {}
                    Ok(Status::Stopped | Status::Broken | Status::Unknown) => {
                        return Err(format!("{} does not run", resource.text));
                    }
                    Err(why) => return Err(format!("{}: {why}", resource.text)),
                }
            }
        }
    }
    Ok(addresses)
}
