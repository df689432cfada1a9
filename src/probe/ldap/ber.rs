//! As much of BER as LDAP has: definite lengths, tags of one byte (RFC 4511 section 5.1).

/// Longest length of a length, in bytes.
const LENGTH_MAX: usize = 4;

/// Tag, content, and what stands behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// The element with which the bytes begin; `None` where there is no whole one.
pub(super) fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let [tag, first, rest @ ..] = bytes else { return None };
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        _ => {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > LENGTH_MAX {
                return None;
            }
            let (len, rest) = rest.split_at_checked(count)?;
            (len.iter().fold(0, |len: usize, byte| len << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some(Element { tag: *tag, content, rest })
}

/// A number of 0 or more.
pub(super) fn integer(content: &[u8]) -> Option<u32> {
    let digits = match content {
        [0, rest @ ..] => rest,
        [0x80..=0xff, ..] | [] => return None,
        digits => digits,
    };
    let number = digits.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
    (digits.len() <= 4).then_some(number)
}

/// An element as bytes.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ 0..=0x7f) => bytes.push(short),
        _ => {
            let zeros = len.iter().take_while(|byte| **byte == 0).count();
            let digits = len.get(zeros..).unwrap_or_default();
            bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            bytes.extend(digits);
        }
    }
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for len in [0, 1, 127, 128, 255, 256, 65_536] {
            let content = vec![7; len];
            let bytes = [tlv(4, &content), vec![1, 2]].concat();
            let read = element(&bytes).unwrap();
            assert_eq!((read.tag, read.content, read.rest), (4, &content[..], &[1, 2][..]));
            assert!(element(&bytes[..bytes.len() - 3]).is_none());
        }
        for bad in [&[4][..], &[4, 0x80], &[4, 0x85, 0, 0, 0, 0, 1, 1], &[4, 0x81], &[4, 1]] {
            assert!(element(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_not_negative_and_not_too_long() {
        for (content, want) in [
            (&[0][..], Some(0)),
            (&[49], Some(49)),
            (&[0, 0x80], Some(128)),
            (&[0x80], None),
            (&[], None),
            (&[0, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX)),
            (&[1, 0, 0, 0, 0], None),
        ] {
            assert_eq!(integer(content), want, "{content:?}");
        }
    }
}
