use super::*;
use crate::cluster::message::{Hold, Unrest, Wish};
use crate::names::GroupName;

fn section(kind: SectionKind, name: &str, digest: u32) -> Section {
    Section { kind, name: name.to_owned(), digest }
}

fn claim(name: &str) -> GroupClaim {
    let group = GroupName::new(name).unwrap();
    let (hold, wish, via, unrest) = (Hold::Nothing, Wish::Content, None, Unrest::default());
    GroupClaim { group, epoch: 0, hold, wish, via, unrest }
}

fn said(ours: &[Section], theirs: &[Section], claims: &[&str]) -> Vec<String> {
    let theirs: Vec<SectionDigest> = theirs.iter().map(Section::told).collect();
    let claims: Vec<GroupClaim> = claims.iter().map(|name| claim(name)).collect();
    differences(ours, &theirs, &claims).iter().map(ToString::to_string).collect()
}

#[test]
fn each_section_that_differs_is_named_and_who_has_it() {
    use SectionKind::{Director, Group, Links, Timing};
    let ours = [
        section(Timing, "", 1),
        section(Links, "", 2),
        section(Group, "web", 3),
        section(Group, "mail", 4),
    ];
    let theirs = [
        section(Timing, "", 9),
        section(Links, "", 2),
        section(Group, "web", 9),
        section(Group, "db", 5),
        section(Director, "db.cf", 6),
    ];
    assert_eq!(
        said(&ours, &theirs, &["web", "db"]),
        [
            "timing",
            "group web",
            "group mail (only here)",
            "group db (only on the peer)",
            "a director (only on the peer)",
        ]
    );
    assert_eq!(said(&ours, &ours, &["web", "mail"]), Vec::<String>::new());
}

#[test]
fn a_peer_that_tells_no_sections_differs_in_nothing_that_could_be_named() {
    let ours = [section(SectionKind::Timing, "", 1)];
    assert_eq!(said(&ours, &[], &[]), Vec::<String>::new());
}

#[test]
fn a_kind_of_section_from_the_future_is_no_fault() {
    let theirs = [SectionDigest { kind: 200, key: 7, digest: 1 }];
    let found = differences(&[], &theirs, &[]);
    assert_eq!(found[0].to_string(), "something newer (only on the peer)");
}
