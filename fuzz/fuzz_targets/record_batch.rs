//! Record batches as a broker or a client gets them, down to the headers of each record.

#![no_main]

use bytes::Bytes;
use ferrokafka_fuzz as _;
use ferrokafka_wire::record::{ControlRecord, RawBatches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for batch in RawBatches::new(Bytes::copy_from_slice(data)) {
        let Ok(batch) = batch else { return };
        // The checksum is not asked for: a fuzzer cannot guess it, and an attacker can compute it.
        let Ok(records) = batch.records(1 << 20) else {
            continue;
        };
        for record in records {
            let Ok(record) = record else { break };
            assert!((batch.base_offset()..=batch.last_offset()).contains(&record.offset));
            assert_eq!(record.headers.iter().count(), record.headers.len());
            let _ = ControlRecord::decode(&record);
        }
    }
});
