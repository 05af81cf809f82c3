//! The state machine driven by hand: no runtime, no clock but the test's own.

mod churn;
mod membership;
mod offset_rules;
mod rounds;
mod shell;
mod static_members;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrokafka_wire::ErrorCode;
use tokio::time::Instant;

use super::classic::{Claim, Command, Group, Reply, State};
use super::commits::{CommitOffset, CommitRequest, PartitionResults};
use super::join::{JoinReply, JoinRequest};
use super::leave::Leaving;
use super::member::Protocol;
use super::member_id::MemberIds;
use super::record::{self, Entry};
use super::sync::{SyncReply, SyncRequest};
use super::{GroupConfig, Name, Now, Ticket};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group with a fake clock; answers are kept until a test takes them.
struct Sim {
    group: Group,
    config: Arc<GroupConfig>,
    start: Instant,
    elapsed: Duration,
    next_ticket: u64,
    answers: HashMap<Ticket, Reply>,
    journal: BTreeMap<Bytes, Bytes>,
}

impl Sim {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        let config = Arc::new(config);
        let start = Instant::now();
        let now = Now {
            instant: start,
            ms: 1_000_000,
        };
        Self {
            group: Group::new("g".into(), config.clone(), MemberIds::new(1, 0), now),
            config,
            start,
            elapsed: Duration::ZERO,
            next_ticket: 0,
            answers: HashMap::new(),
            journal: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        let ms = 1_000_000 + i64::try_from(self.elapsed.as_millis()).unwrap();
        Now {
            instant: self.start + self.elapsed,
            ms,
        }
    }

    fn send(&mut self, command: Command) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let actions = self.group.handle(self.now(), ticket, command);
        self.log(actions.entries);
        for (ticket, reply) in actions.replies {
            assert!(
                self.answers.insert(ticket, reply).is_none(),
                "{ticket:?} answered twice"
            );
        }
        ticket
    }

    fn log(&mut self, entries: Vec<Entry>) {
        for (key, value) in entries {
            match value {
                Some(value) => self.journal.insert(key, value),
                None => self.journal.remove(&key),
            };
        }
    }

    /// Lets time pass, stopping at every timer as the shell's task does.
    fn pass(&mut self, duration: Duration) {
        let end = self.elapsed + duration;
        for _ in 0..10_000 {
            match self
                .group
                .next_deadline()
                .filter(|deadline| *deadline <= self.start + end)
            {
                Some(deadline) => {
                    self.elapsed = (deadline - self.start).max(self.elapsed);
                    self.send(Command::Tick);
                }
                None => {
                    self.elapsed = end;
                    return;
                }
            }
        }
        panic!("timers never settle");
    }

    /// As after a crash: what the journal holds, in a new coordinator.
    fn restart(&mut self) {
        let records = self
            .journal
            .iter()
            .map(|(key, value)| record::decode(key.clone(), value.clone()).unwrap());
        let ids = MemberIds::new(1, 1);
        self.group =
            Group::restore("g".into(), self.config.clone(), ids, self.now(), records).unwrap();
        self.answers.clear();
    }

    fn join(&mut self, request: JoinRequest) -> Ticket {
        self.send(Command::Join(request))
    }

    fn take(&mut self, ticket: Ticket) -> Option<Reply> {
        self.answers.remove(&ticket)
    }

    fn joined(&mut self, ticket: Ticket) -> JoinReply {
        match self.take(ticket) {
            Some(Reply::Join(reply)) => reply,
            other => panic!("{ticket:?} has {other:?}, not a join reply"),
        }
    }

    fn synced(&mut self, ticket: Ticket) -> SyncReply {
        match self.take(ticket) {
            Some(Reply::Sync(reply)) => reply,
            other => panic!("{ticket:?} has {other:?}, not a sync reply"),
        }
    }

    fn sync(&mut self, member: &str, generation: i32, assignments: &[(&str, &str)]) -> Ticket {
        let assignments = assignments
            .iter()
            .map(|(member, bytes)| ((*member).into(), Bytes::copy_from_slice(bytes.as_bytes())));
        self.send(Command::Sync(SyncRequest {
            claim: claim(member, generation),
            protocol_type: None,
            protocol: None,
            assignments: assignments.collect(),
        }))
    }

    fn code(&mut self, command: Command) -> ErrorCode {
        let ticket = self.send(command);
        match self.take(ticket) {
            Some(Reply::Code(code)) => code,
            other => panic!("{ticket:?} has {other:?}, not a code"),
        }
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        self.code(Command::Heartbeat(claim(member, generation)))
    }

    fn leave(&mut self, member: &str) -> ErrorCode {
        let leaving = Leaving {
            member: member.into(),
            instance: None,
            reason: None,
        };
        let ticket = self.send(Command::Leave(vec![leaving]));
        match self.take(ticket) {
            Some(Reply::Items(Ok(codes))) => codes[0],
            other => panic!("{ticket:?} has {other:?}, not items"),
        }
    }

    fn partitions(&mut self, command: Command) -> PartitionResults {
        let ticket = self.send(command);
        match self.take(ticket) {
            Some(Reply::Partitions(results)) => results,
            other => panic!("{ticket:?} has {other:?}, not partitions"),
        }
    }

    fn commit(&mut self, claim: Claim, partition: i32, offset: i64) -> PartitionResults {
        self.partitions(Command::Commit(CommitRequest {
            claim,
            retention_ms: None,
            offsets: vec![offset_of("t", partition, offset)],
        }))
    }

    /// A stable group of `count` members with ids `names[i]`; the first is the leader.
    fn stable(&mut self, names: &[&str]) -> Vec<Name> {
        let mut ids: Vec<Name> = Vec::new();
        for name in names {
            let new = self.join(member(name));
            let mut rejoins: Vec<Ticket> = Vec::new();
            for id in ids.clone() {
                rejoins.push(self.join(member_with_id(&id)));
            }
            ids.push(self.joined(new).member_id);
            for ticket in rejoins {
                assert_eq!(self.joined(ticket).error, ErrorCode::None);
            }
        }
        self.settle(&ids);
        assert_eq!(self.group.state(), State::Stable);
        ids
    }

    /// Every member syncs; each is assigned its own id.
    fn settle(&mut self, ids: &[Name]) {
        let generation = self.group.generation;
        let leader = self.group.leader.clone().unwrap();
        let assignments: Vec<(&str, &str)> = ids.iter().map(|id| (&**id, &**id)).collect();
        for id in ids {
            let given = if *id == leader { &assignments[..] } else { &[] };
            let ticket = self.sync(id, generation, given);
            self.answers.remove(&ticket);
        }
        self.answers.clear();
    }
}

fn claim(member: &str, generation: i32) -> Claim {
    Claim {
        member: member.into(),
        instance: None,
        generation,
    }
}

fn offset_of(topic: &str, partition: i32, offset: i64) -> CommitOffset {
    CommitOffset {
        topic: topic.into(),
        partition,
        offset,
        leader_epoch: -1,
        metadata: "".into(),
    }
}

/// A consumer that subscribes to topic `t`, from before known member ids.
fn member(client_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: "".into(),
        instance: None,
        client_id: client_id.into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        requires_known_id: false,
        may_skip_assignment: false,
        reason: None,
    }
}

fn member_with_id(id: &str) -> JoinRequest {
    JoinRequest {
        member_id: id.into(),
        ..member("any")
    }
}

fn static_member(instance: &str) -> JoinRequest {
    JoinRequest {
        instance: Some(instance.into()),
        requires_known_id: true,
        ..member("any")
    }
}

fn protocols(names: &[&str]) -> Vec<Protocol> {
    let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
    names
        .iter()
        .map(|name| Protocol {
            name: (*name).into(),
            metadata: metadata.clone(),
        })
        .collect()
}
