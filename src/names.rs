//! Names and small identifiers: newtypes that can't be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest node, group or link name we take, in bytes: it must fit in a beat and on a screen.
pub const NAME_LEN_MAX: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name can't be empty")]
    Empty,
    /// Over [`NAME_LEN_MAX`] bytes.
    #[error("a name has at most {NAME_LEN_MAX} bytes")]
    TooLong,
    /// A blank, a control character or a quote.
    #[error("`{0}` can't stand in a name")]
    Character(char),
}

fn checked(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_LEN_MAX {
        return Err(NameError::TooLong);
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'')) {
        Some(bad) => Err(NameError::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $fold:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(String);

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl $type {
            /// A checked name; at most [`NAME_LEN_MAX`] bytes, no blanks, quotes or control
            /// characters.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn new(text: &str) -> Result<Self, NameError> {
                checked(text)?;
                let fold: fn(&str) -> String = $fold;
                Ok(Self(fold(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A node, as `uname -n` says it. Lower-cased, as Heartbeat does everywhere.
    NodeName, str::to_lowercase
}
name! {
    /// A resource group. In haresources: the first resource of the line, as written.
    GroupName, str::to_owned
}
name! {
    /// A heartbeat link: an interface or a tty.
    LinkName, str::to_owned
}
name! {
    /// A director's configuration: the ldirectord.cf file name, or the table name in TOML.
    DirectorName, str::to_owned
}

/// A link by its place in the configuration of this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LinkId(pub u8);

/// A group by its place in the configuration of this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct GroupId(pub u16);

/// One order to start or stop one resource. Never used twice by one core, so that a late answer
/// is known as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ActionId(pub u64);

/// One question of an operator that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId(pub u64);
