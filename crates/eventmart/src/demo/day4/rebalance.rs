//! Members come and go: what a rebalance moves and stops, cooperative and eager side by side; and a death.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ferrokafka::{Assignor, TopicPartition};

use crate::demo::STARTING_ORDER;
use crate::demo::day4::{Play, SESSIONS_WELL, flow, short_names};
use crate::demo::ground::Ground;
use crate::demo::watch::Watch;
use crate::error::Result;
use crate::platform::Service;
use crate::scenario::{Column, Stage};
use crate::service::{Change, Handler, Member, Rebalance, Stop, Watching};

const SERVICE: Service = Service::Notification;
const SECOND: &str = "notification-2";

/// What a rebalance did to the partitions of a group.
struct Effect {
    /// Partitions that nobody read for a while.
    stopped: usize,
    /// Partitions that have another owner now.
    moved: usize,
    /// The longest time for which one was not read.
    pause: Duration,
}

pub(super) async fn second_members_join(play: &mut Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage
        .step("A second member joins: cooperative beside eager")
        .await;
    step.why(
        "an eager group gives up every partition and shares them out anew; a cooperative one gives up only those that \
         move, and reads on meanwhile",
    );
    let partitions = Ground::partitions_read_by(SERVICE);
    let eager = Eager::start(play, partitions).await?;
    let before = eager.watch.look(|seen| seen.rebalances.len());
    let second = eager.join(play, "eager-2").await?;
    eager.shared(&["eager-1", "eager-2"], partitions).await?;
    let eager_changes = eager.watch.look(|seen| seen.rebalances[before..].to_vec());

    let group = play.group(SERVICE);
    let before = group.watch.look(|seen| seen.rebalances.len());
    let config = play.ground.member_config(SERVICE, SECOND);
    let member = play
        .ground
        .member(config, &group.handler, &group.publisher, &group.watch)
        .await?;
    group
        .watch
        .wait("the two share the partitions", |seen| {
            seen.is_shared_by(&["notification-1", SECOND], partitions)
                .then_some(())
        })
        .await?;
    let changes = group.watch.look(|seen| seen.rebalances[before..].to_vec());
    let owners = group.watch.look(|seen| seen.owned.clone());
    play.group_mut(SERVICE)?.members.push(member);

    step.table(
        "cooperative: notification",
        &CHANGES.map(|(name, right)| column(name, right)),
        rows(&changes),
    );
    step.table(
        "eager: the same topics, read by a group that does nothing else",
        &CHANGES.map(|(name, right)| column(name, right)),
        rows(&eager_changes),
    );
    let (cooperative, eager_effect) = (
        effect(&changes, "notification-1"),
        effect(&eager_changes, "eager-1"),
    );
    let row = |name: &str, effect: &Effect| {
        vec![
            name.to_owned(),
            partitions.to_string(),
            effect.stopped.to_string(),
            effect.moved.to_string(),
            format!("{:.1} ms", effect.pause.as_secs_f64() * 1000.0),
        ]
    };
    let columns = [
        Column::text("protocol"),
        Column::number("partitions"),
        Column::number("stopped"),
        Column::number("moved"),
        Column::measured("longest pause"),
    ];
    step.table(
        "what the second member cost",
        &columns,
        vec![
            row("cooperative", &cooperative),
            row("eager", &eager_effect),
        ],
    );
    step.fact(
        "cooperative: partitions moved to the second member",
        owners[SECOND].len(),
        cooperative.moved,
    );
    step.fact(
        "cooperative: partitions stopped are those that moved",
        cooperative.moved,
        cooperative.stopped,
    );
    step.fact(
        "eager: every partition stopped",
        partitions,
        eager_effect.stopped,
    );
    step.note(
        "a partition that moves cooperatively may pause longer, since it takes two rounds: one to give up, one to \
         take; those that stay never stop",
    );
    step.line("Consumer group rebalancing completed");
    step.hint("eventmart group describe eventmart-notification");
    second.stop(Stop::Leave).await?;
    eager.stop().await?;
    step.done()
}

pub(super) async fn member_dies(play: &mut Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage
        .step("A member dies without a word, and its partitions are taken over")
        .await;
    step.why("nobody can tell a dead member from a slow one: the coordinator waits for the session timeout");
    play.ground.wait_for_lag_zero(SERVICE).await?;
    let timeout = play.ground.session_timeout();
    let partitions = Ground::partitions_read_by(SERVICE);
    let group = play.group_mut(SERVICE)?;
    let at = group
        .members
        .iter()
        .position(|member| member.name() == SECOND);
    let Some(at) = at else {
        return Err(crate::Error::fact("the second member is gone already"));
    };
    let before = group.watch.look(|seen| seen.rebalances.len());
    let orphans = group
        .watch
        .look(|seen| seen.owned.get(SECOND).map_or(0, BTreeSet::len));
    let killed = tokio::time::Instant::now();
    group.members.remove(at).stop(Stop::Kill).await?;
    group.watch.forget(SECOND);

    flow::tell_visits(play, SESSIONS_WELL, play.sessions_member_dead).await?;
    let group = play.group(SERVICE);
    group
        .watch
        .wait("the survivor takes over", |seen| {
            seen.is_shared_by(&["notification-1"], partitions)
                .then_some(())
        })
        .await?;
    let changes = group.watch.look(|seen| seen.rebalances[before..].to_vec());
    let taken_over: usize = changes
        .iter()
        .filter(|change| change.change == Change::Assigned)
        .map(|change| change.partitions.len())
        .sum();
    let took = changes
        .last()
        .map_or(Duration::ZERO, |change| change.at - killed);
    step.table(
        "assignment by generation",
        &CHANGES.map(|(name, right)| column(name, right)),
        rows(&changes),
    );
    step.fact(
        "partitions of the dead member taken over",
        orphans,
        taken_over,
    );
    // A rebalance follows the timeout; a machine that is busy may need a moment for it.
    step.within(
        "time from death to takeover",
        timeout + Duration::from_secs(10),
        took,
    );
    let expected = play.expected(play.sessions_member_dead);
    flow::caught_up(play, &step, &expected, &STARTING_ORDER).await?;
    let (handled, due) = (
        play.group(SERVICE).watch.handled(),
        play.expected_of(SERVICE, &expected),
    );
    step.fact(
        "events handled by NotificationService, also those written meanwhile",
        due,
        handled,
    );
    step.done()
}

/// The eager group beside the service: same topics, same steps, nothing but reading.
struct Eager {
    handler: Arc<dyn Handler>,
    watch: Arc<Watch>,
    first: Member,
}

impl Eager {
    async fn start(play: &Play<'_>, partitions: usize) -> Result<Self> {
        let handler: Arc<dyn Handler> = Arc::new(Watching(SERVICE));
        let watch = Watch::new();
        let first = Self::member(play, &handler, &watch, "eager-1").await?;
        let eager = Self {
            handler,
            watch,
            first,
        };
        eager.shared(&["eager-1"], partitions).await?;
        Ok(eager)
    }

    async fn member(
        play: &Play<'_>,
        handler: &Arc<dyn Handler>,
        watch: &Arc<Watch>,
        name: &str,
    ) -> Result<Member> {
        let mut config = play.ground.member_config(SERVICE, name);
        config.group = play.ground.names().name("eventmart-notification-eager");
        config.assignor = Assignor::Range;
        play.ground.member(config, handler, &play.shop, watch).await
    }

    async fn join(&self, play: &Play<'_>, name: &str) -> Result<Member> {
        Self::member(play, &self.handler, &self.watch, name).await
    }

    async fn shared(&self, members: &[&str], partitions: usize) -> Result<()> {
        self.watch
            .wait("the eager group shares the partitions", |seen| {
                seen.is_shared_by(members, partitions).then_some(())
            })
            .await
    }

    async fn stop(self) -> Result<()> {
        self.first.stop(Stop::Leave).await.map(|_| ())
    }
}

const CHANGES: [(&str, bool); 5] = [
    ("gen", true),
    ("member", false),
    ("change", false),
    ("count", true),
    ("partitions", false),
];

fn column(name: &str, right: bool) -> Column {
    if right {
        Column::number(name)
    } else {
        Column::text(name)
    }
}

/// Changes by generation, what leaves before what comes.
fn rows(changes: &[Rebalance]) -> Vec<Vec<String>> {
    let mut sorted: Vec<&Rebalance> = changes.iter().collect();
    sorted.sort_by_key(|change| {
        (
            change.generation,
            change.change == Change::Assigned,
            change.member.clone(),
        )
    });
    let row = |change: &&Rebalance| {
        let verb = match change.change {
            Change::Assigned => "assigned",
            Change::Revoked => "revoked",
            Change::Lost => "lost",
        };
        vec![
            change.generation.to_string(),
            change.member.clone(),
            verb.to_owned(),
            change.partitions.len().to_string(),
            short_names(change.partitions.iter().cloned()),
        ]
    };
    sorted.iter().map(row).collect()
}

/// From the changes of a rebalance: a partition pauses from its revocation until somebody has it again.
fn effect(changes: &[Rebalance], first: &str) -> Effect {
    let mut revoked: BTreeMap<&TopicPartition, tokio::time::Instant> = BTreeMap::new();
    let (mut moved, mut pause) = (BTreeSet::new(), Duration::ZERO);
    for change in changes {
        for partition in &change.partitions {
            if change.change != Change::Assigned {
                revoked.insert(partition, change.at);
                continue;
            }
            if let Some(since) = revoked.get(partition) {
                pause = pause.max(change.at.saturating_duration_since(*since));
            }
            if change.member != first {
                moved.insert(partition);
            }
        }
    }
    Effect {
        stopped: revoked.len(),
        moved: moved.len(),
        pause,
    }
}
