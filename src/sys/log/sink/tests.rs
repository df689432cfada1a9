use super::*;
use crate::config::Facility;
use crate::sys::scratch::Scratch;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn debug_messages_go_to_the_debug_file_only_and_a_file_put_aside_is_opened_anew() {
    let scratch = Scratch::new("files");
    let (file, debug) = (scratch.join("ha-log"), scratch.join("ha-debug"));
    let (log_file, debug_file) = (Some(file.clone()), Some(debug.clone()));
    let log = config::Log { file: log_file, debug_file, ..config::Log::default() };
    let mut sink = Sink::new(&log, Path::new("/nonexistent"));
    sink.line(Level::INFO, "T INFO one");
    sink.line(Level::DEBUG, "T DEBUG two");
    assert_eq!(read(&file), "T INFO one\n");
    assert_eq!(read(&debug), "T INFO one\nT DEBUG two\n");

    std::fs::rename(&file, scratch.join("aside")).unwrap();
    sink.line(Level::WARN, "T WARN three");
    assert!(!file.exists(), "nobody has said so yet");
    sink.reopen();
    sink.line(Level::WARN, "T WARN four");
    assert_eq!(read(&file), "T WARN four\n");
}

#[test]
fn a_file_that_is_too_long_is_put_aside() {
    let scratch = Scratch::new("bound");
    let path = scratch.join("ha-log");
    File::create(&path).unwrap().set_len(FILE_LEN_MAX).unwrap();
    let log = config::Log { file: Some(path.clone()), ..config::Log::default() };
    let (mut one, mut other) = (Sink::new(&log, &path), Sink::new(&log, &path));
    one.line(Level::INFO, "T INFO one");
    // The other process does not put the new one aside.
    other.line(Level::INFO, "T INFO two");
    assert_eq!(read(&path), "T INFO one\nT INFO two\n");
    assert_eq!(std::fs::metadata(scratch.join("ha-log.1")).unwrap().len(), FILE_LEN_MAX);
}

#[test]
fn syslog_gets_facility_severity_and_text_and_a_new_daemon_is_found() {
    let scratch = Scratch::new("syslog");
    let path = scratch.join("log");
    let facility = Some(Facility { name: "local0", number: 16 });
    let log = config::Log { facility, ..config::Log::default() };
    let mut sink = Sink::new(&log, &path);
    sink.line(Level::INFO, "T INFO nobody listens yet");
    for life in 0..2 {
        let _removed = std::fs::remove_file(&path);
        let daemon = UnixDatagram::bind(&path).unwrap();
        sink.line(Level::ERROR, "T ERROR life one\nT2");
        let mut buffer = [0; 2048];
        let mut hear = || {
            let len = daemon.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        };
        let pid = std::process::id();
        assert_eq!(hear(), format!("<131>pairbeat[{pid}]: ERROR life one"), "life {life}");
        assert_eq!(hear(), format!("<131>pairbeat[{pid}]: T2"));
    }
}
