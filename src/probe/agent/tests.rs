use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::super::Context;
use super::*;
use crate::lvs::check::CheckKind;
use crate::lvs::program::{ProgramCheck, Told};
use crate::probe::tls::Trust;

/// What an agent says that does this with its connection.
fn asked(
    send: Option<&str>,
    timeout: Duration,
    does: impl FnOnce(std::net::TcpStream) + Send + 'static,
) -> Result<Advice, CheckFailure> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = std::thread::spawn(move || does(listener.accept().unwrap().0));
    let check = AgentCheck::Tcp { send: send.map(str::to_owned) };
    let said = ask_at(&check, port, timeout);
    agent.join().unwrap();
    said
}

fn ask_at(check: &AgentCheck, port: u16, timeout: Duration) -> Result<Advice, CheckFailure> {
    let kind = CheckKind::Agent(check.clone());
    let spec = CheckSpec::once(kind, ([127, 0, 0, 1], port).into(), timeout);
    let context = Context::new(Arc::new(Trust::none()), &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { ask(check, &spec, &Run::new(&spec, &context)).await })
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn an_agent_is_heard_with_or_without_being_asked_and_may_hang_up_or_not() {
    let said = asked(None, LONG, |mut agent| agent.write_all(b"75%\n").unwrap());
    assert_eq!(said, Ok(Advice { percent: 75, down: None }));
    let said = asked(Some("web\n"), LONG, |mut agent| {
        let mut question = [0; 4];
        agent.read_exact(&mut question).unwrap();
        assert_eq!(&question, b"web\n");
        agent.write_all(b"down # full").unwrap();
    });
    assert_eq!(said, Ok(Advice { percent: 100, down: Some("full".to_owned()) }));
}

#[test]
fn an_agent_that_says_nothing_too_much_or_nonsense_is_a_failure_in_time() {
    let mute = asked(None, Duration::from_millis(200), |mut agent| {
        // Until the other side gives up.
        let _closed = agent.read(&mut [0]);
    });
    assert!(matches!(mute, Err(CheckFailure::Timeout { .. })), "{mute:?}");
    let flood = asked(None, LONG, |mut agent| {
        let _reset = agent.write_all(&[b'x'; 100_000]);
    });
    assert_eq!(flood, Err(CheckFailure::TooLarge(ANSWER_MAX)));
    let nonsense = asked(None, LONG, |mut agent| agent.write_all(b"SSH-2.0\r\n").unwrap());
    assert!(matches!(nonsense, Err(CheckFailure::Protocol(_))), "{nonsense:?}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(ask_at(&AgentCheck::Tcp { send: None }, nobody, LONG), Err(CheckFailure::Refused));
}

#[test]
fn a_program_says_it_in_its_last_line_and_by_exit_code_0_only() {
    let program = |script: &str| {
        let args = vec!["-c".to_owned(), script.to_owned()];
        let told = Told::Environment { service: "tcp 10.0.0.1:80".to_owned() };
        AgentCheck::Program(ProgramCheck { program: "/bin/sh".to_owned(), args, told })
    };
    let said = ask_at(&program("echo looking; echo 30%"), 80, LONG);
    assert_eq!(said, Ok(Advice { percent: 30, down: None }));
    let failed = ask_at(&program("echo 30%; exit 3"), 80, LONG);
    assert!(matches!(failed, Err(CheckFailure::Program { .. })), "{failed:?}");
}
