//! Users of this machine, by name.
//!
//! Read from /etc/passwd (passwd(5)), where the users of daemons are; users of a directory service
//! are not found.

use std::io;

/// Who a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Id of its own group.
    pub gid: u32,
}

/// The user of that name.
///
/// # Errors
/// When the file can't be read, or has no such user.
pub fn find(name: &str) -> io::Result<User> {
    let text = std::fs::read("/etc/passwd")?;
    let text = String::from_utf8_lossy(&text);
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no user `{name}`"));
    text.lines().find_map(|line| of_line(line, name)).ok_or_else(missing)
}

fn of_line(line: &str, name: &str) -> Option<User> {
    let mut fields = line.split(':');
    if fields.next() != Some(name) {
        return None;
    }
    let _password = fields.next()?;
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_known_by_their_whole_name() {
        let line = "daemon:x:1:2:daemon:/usr/sbin:/usr/sbin/nologin";
        assert_eq!(of_line(line, "daemon"), Some(User { uid: 1, gid: 2 }));
        assert_eq!(of_line(line, "dae"), None);
        assert_eq!(of_line("daemon:x:one:2", "daemon"), None);
        assert_eq!(find("root").unwrap(), User { uid: 0, gid: 0 });
        assert!(find("no such user").is_err());
    }
}
