//! Reads which topics a consumer subscribes to from its group metadata.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};

use super::Name;

/// The topics of a `ConsumerProtocolSubscription` of any version; `None` if the bytes are not one.
///
/// Every version starts alike: a version number, then the array of topic names. What follows is not
/// needed here.
pub(super) fn topics(mut metadata: Bytes) -> Option<BTreeSet<Name>> {
    if metadata.remaining() < 6 || metadata.get_i16() < 0 {
        return None;
    }
    let count = usize::try_from(metadata.get_i32()).ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        if metadata.remaining() < 2 {
            return None;
        }
        let len = usize::try_from(metadata.get_i16()).ok()?;
        if metadata.remaining() < len {
            return None;
        }
        topics.insert(std::str::from_utf8(&metadata.split_to(len)).ok()?.into());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_a_subscription_and_nothing_of_garbage() {
        let good = Bytes::from_static(b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff");
        let names: Vec<_> = topics(good).unwrap().into_iter().collect();
        assert_eq!(names, ["a".into(), "bc".into()] as [Name; 2]);
        for bad in [
            &b""[..],
            b"\0\x01\0\0",
            b"\0\x01\x7f\xff\xff\xff\0\x01a",
            b"\0\x01\xff\xff\xff\xff",
            b"\0\x01\0\0\0\x01\0\x09a",
            b"\0\x01\0\0\0\x01\0\x01\xff",
        ] {
            assert_eq!(topics(Bytes::copy_from_slice(bad)), None, "{bad:?}");
        }
    }
}
