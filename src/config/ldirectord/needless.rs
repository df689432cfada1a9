//! What a file asks for and the director does not act on, because there is nothing to do for it. That is a
//! warning: who asked for it should know.

use crate::config::diag::Faults;
use crate::config::ldirectord::file::{File, Globals, Virtual, Written};

/// One directive.
pub(super) struct Row {
    pub(super) directive: &'static str,
    /// Whether the globals ask for something with it.
    in_globals: fn(&Globals<'_>) -> bool,
    /// Whether a section does.
    in_section: fn(&Virtual<'_>) -> bool,
    /// The end of the sentence "`x` is not acted on".
    consequence: &'static str,
}

const fn global(
    directive: &'static str,
    in_globals: fn(&Globals<'_>) -> bool,
    consequence: &'static str,
) -> Row {
    Row { directive, in_globals, in_section: |_| false, consequence }
}

const fn section(
    directive: &'static str,
    in_section: fn(&Virtual<'_>) -> bool,
    consequence: &'static str,
) -> Row {
    Row { directive, in_globals: |_| false, in_section, consequence }
}

/// Directives.
pub(super) const ROWS: &[Row] = &[
    global(
        "supervised",
        |globals| globals.supervised == Some(true),
        ": pairbeat runs the director itself",
    ),
    global(
        "fork",
        |globals| globals.fork == Some(true),
        ": checks never wait for each other anyway",
    ),
    global(
        "readdquiescent",
        |globals| globals.readd_quiescent == Some(true),
        ": the kernel's table is always made what it should be",
    ),
    global(
        "logfile",
        |_| true,
        " in a cluster: everything goes to the standard error, which systemd keeps, and to the `logfile` \
         of ha.cf",
    ),
    section("load", |_| true, ", nor is it by ldirectord"),
];

/// Says it all, but for globals that are acted on by whoever reads the file.
pub(super) fn say(file: &File<'_>, acted_on: &[&str], faults: &mut Faults<'_>) {
    let rest = |written: &&Written| !acted_on.contains(&written.directive);
    for written in file.globals.written.iter().filter(rest) {
        let row = row(written).filter(|row| (row.in_globals)(&file.globals));
        if let Some(row) = row {
            warn(row, written, faults);
        }
    }
    for section in &file.virtuals {
        for written in &section.written {
            let row = row(written).filter(|row| (row.in_section)(section));
            if let Some(row) = row {
                warn(row, written, faults);
            }
        }
    }
}

fn row(written: &Written) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.directive == written.directive)
}

fn warn(row: &Row, written: &Written, faults: &mut Faults<'_>) {
    let message = format!("`{}` is not acted on{}", row.directive, row.consequence);
    faults.warn(written.key, message);
}
