//! Oracle's client is not free: a stand-in shows what it is told, and answers as it does.

use super::*;
use crate::exec::Ran;

fn check() -> OracleCheck {
    OracleCheck {
        login: "scott".to_owned(),
        password: Some(Password::new("tiger")),
        sid: "ORCL".to_owned(),
        query: "select 1 from dual".to_owned(),
    }
}

fn ran(code: i32, stdout: &str) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let status = Some(std::process::ExitStatus::from_raw(code << 8));
    Ran { status, timed_out: false, stdout: stdout.to_owned(), stderr: String::new() }
}

#[test]
fn the_client_is_told_where_to_log_in_and_what_to_ask() {
    let script = script(&check(), "[2001:db8::2]:1521".parse().unwrap());
    assert!(script.contains("connect \"scott\"/\"tiger\"@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)"));
    assert!(script.contains("(HOST=2001:db8::2)(PORT=1521))(CONNECT_DATA=(SID=ORCL)))\n"));
    assert!(script.contains("\nselect 1 from dual;\nexit\n"));
}

#[test]
fn a_row_is_up_and_an_error_is_down_whatever_the_exit_code() {
    let limit = Duration::from_secs(1);
    for (code, stdout, want) in [
        (0, "\n         1\n\n", None),
        (0, "", Some("not a valid answer: the query returned no row")),
        (0, "ERROR:\nORA-01017: invalid\n", Some("not a valid answer: ORA-01017: invalid")),
        (0, "SP2-0640: Not connected\n", Some("not a valid answer: SP2-0640: Not connected")),
        (8, "1\n", Some("exit code 8: 1")),
    ] {
        let told = answered(&ran(code, stdout), limit).err().map(|failure| failure.to_string());
        assert_eq!(told.as_deref(), want, "{stdout:?}");
    }
}
