//! Made traces are the same for the same seed; recorded ones are read line by line.

use super::{Trace, parse, shapes};
use crate::policy::{Lru, Policy};
use crate::replay::replay;

#[test]
fn the_same_seed_makes_the_same_trace() {
    for shape in shapes() {
        let [first, again, other] = [1, 1, 2].map(|seed| shape.make(seed));
        assert_eq!(first.accesses, again.accesses);
        assert_ne!(first.accesses, other.accesses);
    }
}

#[test]
fn made_traces_are_in_order_and_write_each_blob_once_before_it_is_read() {
    for shape in shapes() {
        let trace = shape.make(1);
        assert!(trace.accesses.len() > 100_000);
        assert!(trace.accesses.is_sorted_by_key(|access| access.secs));
        let mut seen = vec![false; trace.blobs];
        for access in &trace.accesses {
            let seen = &mut seen[access.blob.id as usize];
            assert!(!(access.is_write && *seen));
            *seen = true;
        }
    }
}

const RECORDED: &str = "10 w aa 100\n11 r aa 100\n\n12 r 0bb 50\n13 w aa 100\n14 r aa 100\n";

#[test]
fn a_recorded_trace_is_read() {
    let trace = parse("trace", RECORDED).unwrap();
    assert_eq!((trace.accesses.len(), trace.blobs, trace.unique_bytes), (5, 2, 150));
    assert_eq!(*trace.next_read, [1, u32::MAX, u32::MAX, 4, u32::MAX]);
}

#[test]
fn a_fault_names_its_line() {
    for line in ["10 x aa 1", "10 r zz 1", "10 r aa", "r 10 aa 1", "10 r aa 1 1"] {
        let error = parse("trace", &format!("{RECORDED}{line}\n")).unwrap_err();
        assert!(error.starts_with("trace:7: "), "{error}");
    }
}

fn lru(trace: &Trace, capacity_bytes: u64) -> crate::replay::Outcome {
    let make = || -> Box<dyn Policy> { Box::new(Lru::new(capacity_bytes)) };
    replay(trace, capacity_bytes, Some(2), &make)
}

#[test]
fn only_reads_count_and_a_miss_is_paid_in_full() {
    let trace = parse("trace", RECORDED).unwrap();
    let roomy = lru(&trace, 1000);
    assert_eq!((roomy.reads, roomy.read_bytes, roomy.hits, roomy.backend_bytes()), (3, 250, 2, 50));
    // Blob bb pushes aa out, but aa comes again by a write.
    assert_eq!(lru(&trace, 100).backend_bytes(), 50);
    // Nothing fits but bb.
    assert_eq!(lru(&trace, 60).backend_bytes(), 250);
}
