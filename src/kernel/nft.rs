//! Runs `nft` on a set of rules: atomic, all of them or none.
//!
//! Tables here are always our own; nobody else's are touched.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Longest run of `nft`.
const NFT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// Not installed, or can't be run.
    #[error("nft can't be run ({0}); install the package nftables")]
    Missing(std::io::Error),
    /// It did not end.
    #[error("nft has not ended within {} s", NFT_TIMEOUT.as_secs())]
    Silent,
    /// It refused the rules; its first line.
    #[error("nft: {0}")]
    Refused(String),
}

/// Puts rules in force, in nft's own language (nft(8)).
///
/// # Errors
/// Then nothing has changed, or, after [`NftError::Silent`], nobody knows.
pub(super) async fn apply(rules: &str) -> Result<(), NftError> {
    run(&["-f", "-"], rules).await.map(|_| ())
}

/// A table (`FAMILY NAME`) as nft writes it, without what changes by itself: counters, elements of
/// sets. `None` when there is no such table.
///
/// # Errors
/// When nobody knows.
pub(super) async fn table(table: &str) -> Result<Option<String>, NftError> {
    let mut arguments = vec!["--stateless", "--terse", "list", "table"];
    arguments.extend(table.split(' '));
    match run(&arguments, "").await {
        Ok(text) => Ok(Some(text)),
        Err(NftError::Refused(why)) if why.contains("No such file or directory") => Ok(None),
        Err(other) => Err(other),
    }
}

/// A table of ours as it is in force: what is not the same any more was changed by somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal(Option<String>);

impl Seal {
    /// Reads what is in force in a table (`FAMILY NAME`).
    ///
    /// # Errors
    /// When nobody knows.
    pub(super) async fn of(table: &str) -> Result<Self, NftError> {
        Ok(Self(self::table(table).await?))
    }
}

async fn run(arguments: &[&str], input: &str) -> Result<String, NftError> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(NftError::Missing)?;
    let stdin = child.stdin.take();
    let answered = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read says why on stderr.
            let _says_why = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(NFT_TIMEOUT, answered)
        .await
        .map_err(|_| NftError::Silent)?
        .map_err(NftError::Missing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused(said.lines().next().unwrap_or("no reason given").to_owned()))
}

/// The rules that remove a table (`FAMILY NAME`), whether it is there or not.
pub(super) fn removal(table: &str) -> String {
    // Adding first makes the removal of a missing table no fault.
    format!("add table {table}\ndelete table {table}\n")
}
