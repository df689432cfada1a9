use super::*;

const HEAD: Head = Head { family: 0x21, flags: 5, seq: 7, command: 1, version: 1 };

#[test]
#[cfg(target_endian = "little")]
fn a_message_has_the_kernels_layout() {
    let mut batch = Batch::default();
    batch.message(HEAD, |batch| {
        batch.nest(1, |batch| {
            batch.put(4, &80u16.to_be_bytes());
            batch.put_text(6, "wlc");
        });
    });
    let want = [
        40, 0, 0, 0, 0x21, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
        1, 1, 0, 0, // genlmsghdr
        20, 0, 0x01, 0x80, // nested, type 1, twenty bytes in all
        6, 0, 4, 0, 0, 80, 0, 0, // port 80, padded by two
        8, 0, 6, 0, b'w', b'l', b'c', 0, // needs no padding
    ];
    assert_eq!(batch.as_bytes(), want);
}

#[test]
fn what_is_written_can_be_read() {
    let mut batch = Batch::default();
    for seq in [1, 2] {
        batch.message(Head { seq, ..HEAD }, |batch| {
            batch.put_u16(1, 2);
            batch.nest(2, |batch| batch.put_u32(3, 4));
            batch.put_text(4, "rr");
        });
    }
    let read: Vec<_> = answers(batch.as_bytes()).collect::<Result<_, _>>().unwrap();
    assert_eq!(read.iter().map(|answer| answer.seq).collect::<Vec<_>>(), [1, 2]);
    let Body::Attributes(body) = read[1].body else { panic!("{read:?}") };
    assert_eq!(attribute(body, 1).and_then(|payload| u16_at(payload, 0)), Some(2));
    let nested = attribute(body, 2).and_then(|inner| attribute(inner, 3));
    assert_eq!(nested.and_then(|payload| u32_at(payload, 0)), Some(4));
    assert_eq!(attribute(body, 4).and_then(text), Some("rr"));
    assert_eq!(attribute(body, 9), None);
}

#[test]
fn statuses_are_errno_values() {
    for (kind, value, want) in [
        (libc::NLMSG_ERROR, 0, Body::Status(0)),
        (libc::NLMSG_ERROR, -17, Body::Status(17)),
        (libc::NLMSG_DONE, -16, Body::Done(16)),
    ] {
        let mut bytes = 20u32.to_ne_bytes().to_vec();
        bytes.extend(u16::try_from(kind).unwrap().to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(i32::to_ne_bytes(value));
        assert_eq!(answers(&bytes).next(), Some(Ok(Answer { seq: 0, body: want })));
    }
}

#[test]
fn cut_and_lying_answers_end_the_reading() {
    let mut batch = Batch::default();
    batch.message(HEAD, |batch| batch.nest(1, |batch| batch.put_text(6, "wlc")));
    let whole = batch.as_bytes();
    for end in 1..whole.len() {
        assert_eq!(answers(&whole[..end]).collect::<Vec<_>>(), [Err(Malformed)], "{end} bytes");
        let _ = attributes(&whole[..end]).count();
    }
    for at in 0..whole.len() {
        for value in [0, 1, 3, 255] {
            let mut bytes = whole.to_vec();
            bytes[at] = value;
            for answer in answers(&bytes).flatten() {
                let Body::Attributes(body) = answer.body else { continue };
                assert!(attributes(body).count() <= body.len());
            }
        }
    }
}
