//! The coordinator around the state machines, on a paused clock.

use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::group::GroupCoordinator;
use crate::journal::{Durability, Journal};

fn coordinator(journal: Journal) -> Arc<GroupCoordinator> {
    let clock = Clock::tokio_from(1_000_000);
    Arc::new(GroupCoordinator::new(
        GroupConfig::default(),
        clock,
        1,
        journal,
    ))
}

fn at(path: &Path) -> Arc<GroupCoordinator> {
    coordinator(Journal::open(path, Durability::PageCache).unwrap())
}

async fn sync(groups: &GroupCoordinator, group: &str, member: &str, generation: i32) -> SyncReply {
    let request = SyncRequest {
        claim: claim(member, generation),
        protocol_type: None,
        protocol: None,
        assignments: vec![(member.into(), Bytes::from_static(b"all"))],
    };
    groups.sync(group, request).await
}

async fn commit(
    groups: &GroupCoordinator,
    group: &str,
    claim: Claim,
    offset: i64,
) -> PartitionResults {
    let offsets = vec![offset_of("t", 0, offset)];
    groups
        .commit(
            group,
            CommitRequest {
                claim,
                retention_ms: None,
                offsets,
            },
        )
        .await
}

fn committed(groups: &GroupCoordinator, group: &str) -> Option<i64> {
    groups.read(group, |group| {
        group.offsets.get("t", 0).map(|committed| committed.offset)
    })?
}

#[tokio::test(start_paused = true)]
async fn a_parked_join_is_answered_when_the_silent_member_is_evicted() {
    let groups = coordinator(Journal::memory());
    let first = groups.join("g", member("a")).await;
    sync(&groups, "g", &first.member_id, 1).await;
    let began = Instant::now();
    let second = groups.join("g", member("b")).await;
    assert_eq!((second.error, second.generation), (ErrorCode::None, 2));
    assert_eq!(second.leader, second.member_id);
    assert_eq!(began.elapsed(), SESSION);
}

#[tokio::test(start_paused = true)]
async fn timers_of_many_groups_run_in_one_task() {
    let groups = coordinator(Journal::memory());
    for i in 0..50 {
        let group = format!("g{i}");
        let session_timeout = Duration::from_secs(6 + i);
        let joined = groups
            .join(
                &group,
                JoinRequest {
                    session_timeout,
                    ..member("a")
                },
            )
            .await;
        sync(&groups, &group, &joined.member_id, 1).await;
    }
    let members = |i: u64| groups.read(&format!("g{i}"), |group| group.members().count());
    let start = Instant::now();
    let edge = Duration::from_millis(1);
    for i in 0..50 {
        let end = start + Duration::from_secs(6 + i);
        tokio::time::sleep_until(end - edge).await;
        assert_eq!(members(i), Some(1), "group {i} a moment before its time");
        tokio::time::sleep_until(end + edge).await;
        assert_eq!(members(i), Some(0), "group {i} at its time");
    }
}

#[tokio::test(start_paused = true)]
async fn session_timeouts_out_of_bounds_are_refused() {
    let groups = coordinator(Journal::memory());
    for (seconds, expected) in [
        (5, ErrorCode::InvalidSessionTimeout),
        (6, ErrorCode::None),
        (1800, ErrorCode::None),
        (1801, ErrorCode::InvalidSessionTimeout),
    ] {
        let session_timeout = Duration::from_secs(seconds);
        let group = format!("g{seconds}");
        let reply = groups
            .join(
                &group,
                JoinRequest {
                    session_timeout,
                    ..member("a")
                },
            )
            .await;
        assert_eq!(reply.error, expected, "{seconds} s");
    }
    assert_eq!(
        groups.join("", member("a")).await.error,
        ErrorCode::InvalidGroupId
    );
    let gone = groups.join("none", member_with_id("x")).await;
    assert_eq!(gone.error, ErrorCode::UnknownMemberId);
    assert!(
        !groups.ids().contains(&"none".into()),
        "a stranger creates no group"
    );
}

#[tokio::test(start_paused = true)]
async fn expired_offsets_are_looked_for_by_themselves() {
    let groups = coordinator(Journal::memory());
    commit(&groups, "g", claim("", -1), 1).await.unwrap();
    tokio::time::sleep(GroupConfig::default().offsets_retention).await;
    assert_eq!(committed(&groups, "g"), Some(1));
    tokio::time::sleep(GroupConfig::default().offsets_retention_check * 2).await;
    assert!(groups.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn groups_and_offsets_survive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("groups");
    let groups = at(&path);
    let first = groups.join("g", member("a")).await;
    sync(&groups, "g", &first.member_id, 1).await;
    commit(&groups, "g", claim(&first.member_id, 1), 7)
        .await
        .unwrap();
    commit(&groups, "simple", claim("", -1), 8).await.unwrap();
    commit(&groups, "deleted", claim("", -1), 9).await.unwrap();
    assert_eq!(groups.delete("deleted").await, ErrorCode::None);
    // No shutdown: what is answered is in the file.
    std::mem::forget(groups);

    let groups = at(&path);
    assert_eq!(groups.ids(), ["g".into(), "simple".into()] as [Name; 2]);
    assert_eq!(
        (committed(&groups, "g"), committed(&groups, "simple")),
        (Some(7), Some(8))
    );
    assert_eq!(
        groups.heartbeat("g", claim(&first.member_id, 1)).await,
        ErrorCode::None
    );
    assert_eq!(
        sync(&groups, "g", &first.member_id, 1)
            .await
            .assignment
            .as_ref(),
        b"all"
    );
    // The restored session ends by itself while another member waits.
    drop(groups);
    let groups = at(&path);
    let began = Instant::now();
    let second = groups.join("g", member("b")).await;
    assert_eq!((second.error, second.members.len()), (ErrorCode::None, 1));
    assert_eq!(began.elapsed(), SESSION);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_never_handed_out_twice_not_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("groups");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let groups = at(&path);
        tokio::time::sleep(SESSION * 2).await;
        let joined = groups.join("g", member("a")).await;
        assert!(!seen.contains(&joined.member_id), "{seen:?}");
        sync(&groups, "g", &joined.member_id, joined.generation).await;
        seen.push(joined.member_id);
        let leaving = Leaving {
            member: seen[seen.len() - 1].clone(),
            instance: None,
            reason: None,
        };
        groups.leave("g", vec![leaving]).await.unwrap();
        groups.delete("g").await;
        let again = groups.join("g", member("a")).await;
        assert!(
            !seen.contains(&again.member_id),
            "after the group was deleted"
        );
        sync(&groups, "g", &again.member_id, again.generation).await;
        seen.push(again.member_id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_without_coordinator_waits_in_the_journal() {
    let groups = coordinator(Journal::memory());
    let first = groups.join("g", member("a")).await;
    sync(&groups, "g", &first.member_id, 1).await;
    groups.moved(&"g".into(), false);
    assert_eq!(groups.read("g", |_| ()), None);
    tokio::time::sleep(SESSION * 2).await;
    assert!(groups.known().contains("g"));
    groups.moved(&"g".into(), true);
    assert_eq!(
        groups.heartbeat("g", claim(&first.member_id, 1)).await,
        ErrorCode::None
    );
    tokio::time::sleep(SESSION + Duration::from_millis(1)).await;
    assert_eq!(
        groups.heartbeat("g", claim(&first.member_id, 1)).await,
        ErrorCode::UnknownMemberId
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_join_leaves_the_member_in_the_group() {
    let groups = coordinator(Journal::memory());
    let first = groups.join("g", member("a")).await;
    sync(&groups, "g", &first.member_id, 1).await;
    let parked = groups.join("g", member("b"));
    assert!(
        tokio::time::timeout(Duration::from_secs(1), parked)
            .await
            .is_err()
    );
    assert_eq!(groups.read("g", |group| group.members().count()), Some(2));
    // The others go on; the absent one is evicted a session after the round it was counted in.
    let rejoined = groups.join("g", member_with_id(&first.member_id)).await;
    assert_eq!(rejoined.members.len(), 2);
    sync(&groups, "g", &first.member_id, 2).await;
    tokio::time::sleep(SESSION - Duration::from_millis(1)).await;
    assert_eq!(
        groups.heartbeat("g", claim(&first.member_id, 2)).await,
        ErrorCode::None
    );
    tokio::time::sleep(Duration::from_millis(2)).await;
    let told = groups.heartbeat("g", claim(&first.member_id, 2)).await;
    assert_eq!(told, ErrorCode::RebalanceInProgress);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_that_the_journal_did_not_take() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("groups");
    let groups = at(&path);
    commit(&groups, "g", claim("", -1), 1).await.unwrap();
    let first = groups.join("h", member("a")).await;
    groups.break_journal();
    let unavailable = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(
        commit(&groups, "g", claim("", -1), 2).await,
        Err(unavailable)
    );
    assert_eq!(
        sync(&groups, "h", &first.member_id, 1).await.error,
        unavailable
    );
    assert_eq!(
        groups.heartbeat("h", claim(&first.member_id, 1)).await,
        unavailable,
        "memory is ahead of the file"
    );
    assert_eq!(groups.delete("g").await, unavailable);
    drop(groups);
    assert_eq!(committed(&at(&path), "g"), Some(1));
}
