//! Reload: all of a new configuration, or nothing of it.

use rustix::process::Signal;

use crate::nets::possible;
use crate::pair::{Pair, Setup, VIP};

#[test]
fn reload_applies_an_unchanged_configuration_and_refuses_one_with_faults_or_too_much_change() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let before = pair.a.status().unwrap().0["groups"].clone();
    let said = pair.a.ask(&["reload"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "reloaded\n", ""));

    let (ha_cf, haresources) = (pair.a.config.join("ha.cf"), pair.a.config.join("haresources"));
    let good = std::fs::read_to_string(&ha_cf).unwrap();
    std::fs::write(&ha_cf, format!("keepalive soon\n{good}deadtime never\n")).unwrap();
    std::fs::write(&haresources, "server101 192.168.2.999/24/eth0\n").unwrap();
    let said = pair.a.ask(&["reload"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    for place in ["ha.cf:1:11: fault:", "ha.cf:10:10: fault:", "haresources:1:11: fault:"] {
        assert!(said.err.contains(place), "{place}\n{}", said.err);
    }
    assert!(said.err.ends_with("not reloaded; everything goes on as before\n"), "{}", said.err);

    pair.a.signal(pair.a.supervisor(), Signal::HUP);
    pair.a.logs("configuration not reloaded");

    Setup { auto_failback: true, ..Setup::patient() }.write(&pair.a.config, crate::pair::KEY);
    let said = pair.a.ask(&["reload"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("auto_failback can't be changed by a reload"), "{}", said.err);

    Setup::patient().write(&pair.a.config, crate::pair::KEY);
    pair.a.signal(pair.a.supervisor(), Signal::HUP);
    pair.a.logs("configuration reloaded");
    assert_eq!(pair.a.status().unwrap().0["groups"], before);
    assert!(pair.a.holds(VIP));
}
