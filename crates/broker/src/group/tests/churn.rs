//! Members that come, go, die and restart at random; what must hold at every step of it.
//!
//! A failure names its seed: `CHURN_SEED=n cargo test -p ferrokafka-broker churn` runs that one alone.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;

const SEEDS: u64 = 300;
const STEPS: u32 = 120;
const CLIENTS_MAX: usize = 8;

/// A consumer as the protocol wants it.
struct Client {
    name: String,
    instance: Option<Name>,
    id: Name,
    knows_ids: bool,
    generation: i32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Out,
    Joining(Ticket),
    Syncing(Ticket),
    Stable,
    /// A newer process has the same instance id.
    Fenced,
}

/// What is known of one generation, from what members were told.
#[derive(Default)]
struct Round {
    leader: Option<Name>,
    joined: BTreeSet<Name>,
    planned: BTreeSet<Name>,
}

struct Churn {
    sim: Sim,
    rng: Rng,
    clients: Vec<Client>,
    born: u32,
    /// Coordinator restarts: a round that was not in the journal may be repeated after one.
    life: u32,
    rounds: BTreeMap<(u32, i32), Round>,
    last_committed: i64,
}

impl Churn {
    fn new(seed: u64) -> Self {
        Self {
            sim: Sim::new(),
            rng: Rng::with_seed(seed),
            clients: Vec::new(),
            born: 0,
            life: 0,
            rounds: BTreeMap::new(),
            last_committed: 0,
        }
    }

    fn spawn(&mut self) {
        self.born += 1;
        let name = format!("c{}", self.born);
        let fixed = self.rng.u8(..4) == 0;
        let instance = fixed.then(|| Name::from(format!("pod-{}", self.rng.u8(..3))));
        // A process of the same name is a restart; the old one may still be about.
        let knows_ids = self.rng.bool();
        let client = Client {
            name,
            instance,
            id: "".into(),
            knows_ids,
            generation: -1,
            phase: Phase::Out,
        };
        self.clients.push(client);
    }

    /// One step of one client.
    fn act(&mut self, index: usize) {
        match self.clients[index].phase {
            Phase::Out => self.begin_join(index),
            Phase::Joining(ticket) => {
                if let Some(Reply::Join(reply)) = self.sim.take(ticket) {
                    self.on_joined(index, reply);
                }
            }
            Phase::Syncing(ticket) => {
                if let Some(Reply::Sync(reply)) = self.sim.take(ticket) {
                    self.on_synced(index, &reply);
                }
            }
            Phase::Stable => self.beat(index),
            Phase::Fenced => {}
        }
    }

    fn begin_join(&mut self, index: usize) {
        let client = &self.clients[index];
        let request = JoinRequest {
            member_id: client.id.clone(),
            instance: client.instance.clone(),
            requires_known_id: client.knows_ids,
            may_skip_assignment: client.knows_ids,
            ..member(&client.name)
        };
        let ticket = self.sim.join(request);
        self.clients[index].phase = Phase::Joining(ticket);
    }

    fn on_joined(&mut self, index: usize, reply: JoinReply) {
        let client = &mut self.clients[index];
        client.phase = Phase::Out;
        match reply.error {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                client.id = reply.member_id;
                return;
            }
            other => return Self::refused(client, other),
        }
        assert!(
            client.id.is_empty() || client.id == reply.member_id,
            "an id never changes"
        );
        client.id = reply.member_id.clone();
        client.generation = reply.generation;
        let round = self
            .rounds
            .entry((self.life, reply.generation))
            .or_default();
        round.joined.insert(reply.member_id.clone());
        // The full list goes to the leader, and to the leader only.
        if !reply.members.is_empty() {
            assert_eq!(reply.leader, reply.member_id);
            let listed: BTreeSet<Name> = reply
                .members
                .iter()
                .map(|member| member.id.clone())
                .collect();
            assert!(listed.contains(&reply.member_id));
            round.leader = Some(reply.member_id.clone());
        }
        let leads = !reply.members.is_empty() && !reply.skip_assignment;
        let plan: Vec<(Name, Bytes)> = if leads {
            round.planned = reply
                .members
                .iter()
                .map(|member| member.id.clone())
                .collect();
            let plan = reply.members.iter();
            plan.map(|member| (member.id.clone(), assignment(reply.generation, &member.id)))
                .collect()
        } else {
            Vec::new()
        };
        let claim = self.claim(index);
        let request = SyncRequest {
            claim,
            protocol_type: None,
            protocol: None,
            assignments: plan,
        };
        let ticket = self.sim.send(Command::Sync(request));
        self.clients[index].phase = Phase::Syncing(ticket);
    }

    fn on_synced(&mut self, index: usize, reply: &SyncReply) {
        let client = &mut self.clients[index];
        client.phase = Phase::Out;
        if reply.error != ErrorCode::None {
            return Self::refused(client, reply.error);
        }
        client.phase = Phase::Stable;
        // What a restarted static member inherits was planned for its former id.
        if client.instance.is_none() {
            assert_eq!(
                reply.assignment,
                assignment(client.generation, &client.id),
                "of the same generation"
            );
        }
    }

    fn beat(&mut self, index: usize) {
        let claim = self.claim(index);
        if self.rng.bool() {
            let generation = claim.generation;
            // The offset counts generations: it can only fall if a stale member got through.
            let value = i64::from(self.life) * 1_000_000 + i64::from(generation);
            if self.sim.commit(claim.clone(), 0, value).is_ok() {
                assert!(
                    value >= self.last_committed,
                    "a commit of generation {generation} came late"
                );
                self.last_committed = value;
            }
        }
        let code = self.sim.code(Command::Heartbeat(claim));
        let client = &mut self.clients[index];
        if code != ErrorCode::None {
            client.phase = Phase::Out;
            Self::refused(client, code);
        }
    }

    fn claim(&self, index: usize) -> Claim {
        let client = &self.clients[index];
        Claim {
            member: client.id.clone(),
            instance: client.instance.clone(),
            generation: client.generation,
        }
    }

    fn refused(client: &mut Client, code: ErrorCode) {
        match code {
            ErrorCode::UnknownMemberId => client.id = "".into(),
            ErrorCode::FencedInstanceId => client.phase = Phase::Fenced,
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            other => panic!("{} was told {other}", client.name),
        }
    }

    fn disturb(&mut self) {
        match self.rng.u8(..20) {
            0..=5 if self.clients.len() < CLIENTS_MAX => self.spawn(),
            6..=8 if !self.clients.is_empty() => {
                // Killed: whatever it had parked stays parked.
                let victim = self.rng.usize(..self.clients.len());
                self.clients.swap_remove(victim);
            }
            9..=10 if !self.clients.is_empty() => {
                let leaver = self.rng.usize(..self.clients.len());
                let client = self.clients.swap_remove(leaver);
                let leaving = Leaving {
                    member: client.id,
                    instance: client.instance,
                    reason: None,
                };
                self.sim.send(Command::Leave(vec![leaving]));
            }
            11 => self.restart(),
            12 => self.sim.pass(Duration::from_secs(self.rng.u64(4..70))),
            _ => {}
        }
    }

    fn restart(&mut self) {
        if self.sim.journal.is_empty() {
            return;
        }
        self.life += 1;
        self.sim.restart();
        for client in &mut self.clients {
            // The connection broke.
            if matches!(client.phase, Phase::Joining(_) | Phase::Syncing(_)) {
                client.phase = Phase::Out;
            }
        }
    }

    fn check(&self) {
        let group = &self.sim.group;
        for (instance, id) in &group.statics {
            assert_eq!(
                group
                    .members
                    .get(id)
                    .and_then(|member| member.instance.as_ref()),
                Some(instance)
            );
        }
        assert!(
            group
                .unsynced
                .iter()
                .all(|id| group.members.contains_key(id))
        );
        assert!(
            group
                .pending
                .keys()
                .all(|id| !group.members.contains_key(id))
        );
        let leads = |id: &Name| group.members.contains_key(id);
        assert!(
            group.leader.as_ref().is_none_or(leads),
            "the leader is a member"
        );
        for member in group.members.values() {
            let parked = member.join.is_some() || member.sync.is_some();
            assert!(
                parked || member.deadline.is_some(),
                "{} can die unnoticed",
                member.id
            );
            assert!(
                member
                    .deadline
                    .is_none_or(|deadline| group.earliest.is_some_and(|e| e <= deadline))
            );
        }
        for ((life, generation), round) in &self.rounds {
            // Everybody who was told of a generation was known to its leader.
            let strangers = round
                .joined
                .iter()
                .filter(|id| !round.planned.contains(*id));
            let strangers: Vec<_> = strangers.filter(|id| !id.starts_with("pod-")).collect();
            assert!(
                round.planned.is_empty() || strangers.is_empty(),
                "{life}/{generation}: {strangers:?}"
            );
        }
        match group.state {
            State::Stable => assert!(group.members.values().all(|member| member.join.is_none())),
            State::PreparingRebalance => {
                assert!(group.join_timer.is_some(), "nothing ends the round")
            }
            State::CompletingRebalance => {
                assert!(group.sync_timer.is_some(), "nothing ends the wait")
            }
            State::Empty => assert!(group.members.is_empty() && group.statics.is_empty()),
            State::Dead => {}
        }
    }

    /// Without disturbance all clients must come to one stable generation.
    fn settle(&mut self) {
        for _ in 0..200 {
            for index in 0..self.clients.len() {
                self.act(index);
            }
            self.check();
            self.sim.pass(Duration::from_secs(3));
            self.clients.retain(|client| client.phase != Phase::Fenced);
        }
        let group = &self.sim.group;
        let generations: BTreeSet<i32> = self
            .clients
            .iter()
            .map(|client| client.generation)
            .collect();
        assert!(generations.len() <= 1, "{generations:?}");
        assert!(
            self.clients
                .iter()
                .all(|client| client.phase == Phase::Stable)
        );
        let ids: BTreeSet<&Name> = self.clients.iter().map(|client| &client.id).collect();
        assert_eq!(
            ids,
            group.members.keys().collect(),
            "the dead are gone, the living are in"
        );
        assert!(group.pending.is_empty());
    }

    fn end(&mut self) {
        for client in std::mem::take(&mut self.clients) {
            let leaving = Leaving {
                member: client.id,
                instance: client.instance,
                reason: None,
            };
            self.sim.send(Command::Leave(vec![leaving]));
        }
        self.sim.pass(Duration::from_secs(400));
        let group = &self.sim.group;
        assert_eq!(group.state, State::Empty);
        assert_eq!(group.next_deadline(), None, "an empty group needs no timer");
        assert!(group.unsynced.is_empty() && group.leader.is_none());
    }
}

fn assignment(generation: i32, id: &str) -> Bytes {
    format!("{generation}:{id}").into()
}

fn run(seed: u64) {
    let mut churn = Churn::new(seed);
    churn.spawn();
    for _ in 0..STEPS {
        churn.disturb();
        for index in 0..churn.clients.len() {
            if churn.rng.u8(..4) > 0 {
                churn.act(index);
                churn.check();
            }
        }
        let pause = churn.rng.u64(..2_500);
        churn.sim.pass(Duration::from_millis(pause));
        churn.check();
    }
    churn.settle();
    churn.end();
}

#[test]
fn churn_keeps_every_generation_of_one_mind() {
    if let Ok(seed) = std::env::var("CHURN_SEED") {
        return run(seed.parse().unwrap());
    }
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(
            outcome.is_ok(),
            "CHURN_SEED={seed} cargo test -p ferrokafka-broker churn"
        );
    }
}
