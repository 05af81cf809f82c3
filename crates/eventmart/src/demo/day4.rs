//! Day 4, event consumers: six groups at work; members join, die and stumble; nothing is lost.
//!
//! The story is told in three parts, so that each incident has events of its own: most of it while all is well, some
//! visits while a member is dead, some while AuditService is stopped. What each group must have read at every point
//! is computed beforehand from the seed.

mod ending;
mod flow;
mod poison;
mod rebalance;
mod redelivery;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::demo::ground::{Creation, Ground};
use crate::demo::group::Group;
use crate::demo::{Options, STARTING_ORDER, who_writes_and_reads};
use crate::error::Result;
use crate::event::Event;
use crate::expected::Expected;
use crate::generator::{Generator, Session, Volume};
use crate::platform::Service;
use crate::scenario::{Column, Stage};
use crate::service::{Figures, Publisher};
use crate::topic::DEAD_LETTERS;

pub(super) const STEPS: usize = 8;

/// Visits told while all is well.
const SESSIONS_WELL: usize = 60;
/// Visits told by the time the dead member's partitions are taken over; fewer where the seed has the rest too quiet
/// for the step that comes after.
const SESSIONS_MEMBER_DEAD: usize = 80;

/// The day under way.
struct Play<'a> {
    ground: Ground<'a>,
    generator: Generator,
    users: Vec<Event>,
    products: Vec<Event>,
    sessions: Vec<Session>,
    sessions_member_dead: usize,
    figures: Arc<Figures>,
    groups: BTreeMap<Service, Group>,
    /// Writes what no group writes: customers, catalogue, visits.
    shop: Publisher,
    /// Sign-ups told in the step about poisoned events, and records there that are no events.
    late: usize,
    malformed: usize,
}

pub(super) async fn play(stage: &mut Stage, cluster: &Cluster, options: Options) -> Result<()> {
    stage.line("=== EventMart Consumer Demo ===");
    let ground = Ground::prepare(cluster, options).await?;
    let generator = Generator::new(ground.seed, Volume::default());
    let (users, products) = (generator.users(), generator.products());
    let sessions = generator.sessions(&users, &products);
    let shop = ground.publisher(Service::Visitor).await?;
    let sessions_member_dead =
        rest_is_busy_from(&generator, (&users, &products), &sessions).min(SESSIONS_MEMBER_DEAD);
    let mut play = Play {
        ground,
        generator,
        users,
        products,
        sessions,
        sessions_member_dead,
        figures: Arc::default(),
        groups: BTreeMap::new(),
        shop,
        late: 0,
        malformed: 0,
    };
    play.create_topics(stage).await?;
    play.start_groups(stage).await?;
    flow::tell_while_all_is_well(&mut play, stage).await?;
    rebalance::second_members_join(&mut play, stage).await?;
    rebalance::member_dies(&mut play, stage).await?;
    redelivery::stop_between_processing_and_commit(&mut play, stage).await?;
    poison::retry_and_dead_letter(&mut play, stage).await?;
    ending::prove(&mut play, stage).await?;
    play.stop().await
}

/// The last visit from which on AuditService has more to read than it reads before it stops.
fn rest_is_busy_from(
    generator: &Generator,
    (users, products): (&[Event], &[Event]),
    sessions: &[Session],
) -> usize {
    let audited = |end: usize| {
        let told = Expected::up_to(
            generator,
            users.to_vec(),
            products.to_vec(),
            &sessions[..end],
        );
        told.read_by(Service::Audit)
    };
    let all = audited(sessions.len());
    let busy = |from: &usize| all - audited(*from) > redelivery::STOPS_AFTER;
    (SESSIONS_WELL..sessions.len())
        .rev()
        .find(busy)
        .unwrap_or(SESSIONS_WELL)
}

impl<'a> Play<'a> {
    async fn create_topics(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage
            .step("Create the topics: the seven, and one for dead letters")
            .await;
        let created = self.ground.create_topics().await?;
        let (columns, rows) = who_writes_and_reads();
        step.table("who writes and who reads", &columns, rows);
        let new = created
            .values()
            .filter(|creation| **creation == Creation::Created)
            .count();
        step.fact("topics created", 8, new);
        let dead_letters = self.ground.names().name(DEAD_LETTERS);
        step.note(&format!("{dead_letters} is beside the seven: what a service gives up lies there, with the reason"));
        step.done()
    }

    async fn start_groups(&mut self, stage: &mut Stage) -> Result<()> {
        let mut step = stage
            .step("Start the services, each a consumer group of its own")
            .await;
        step.why("each group reads every event of its topics; within a group each partition has one member");
        let mut rows = Vec::new();
        for service in STARTING_ORDER {
            let group = Group::start(&self.ground, service, &self.figures).await?;
            let generation = group
                .watch
                .look(|seen| seen.rebalances.last().map_or(0, |last| last.generation));
            let partitions = Ground::partitions_read_by(service);
            let name = format!("{}-1", service.slug());
            rows.push(vec![
                service.group(),
                generation.to_string(),
                name,
                partitions.to_string(),
                short_names(
                    group
                        .watch
                        .look(|seen| seen.owned.values().flatten().cloned().collect::<Vec<_>>()),
                ),
            ]);
            self.groups.insert(service, group);
        }
        let columns = [
            Column::text("group"),
            Column::number("gen"),
            Column::text("member"),
            Column::number("partitions"),
            Column::text("which"),
        ];
        step.table("assignment by generation", &columns, rows);
        let stable = self.ground.stable_groups().await?;
        step.fact(
            "groups that the coordinator calls stable",
            self.groups.len(),
            stable,
        );
        step.hint("eventmart group list");
        step.done()
    }

    /// The story after the first `sessions` visits.
    fn expected(&self, sessions: usize) -> Expected {
        let users = self.users.clone();
        Expected::up_to(
            &self.generator,
            users,
            self.products.clone(),
            &self.sessions[..sessions],
        )
    }

    /// What the group of `service` must have handled when the story stands there, redeliveries left out.
    fn expected_of(&self, service: Service, expected: &Expected) -> usize {
        use crate::topic::Topic::{Notifications, Users};
        let reads = service.spec().reads;
        let mut count = expected.read_by(service);
        if reads.contains(&Users) {
            count += self.late + self.malformed;
        }
        if reads.contains(&Notifications) {
            // Of the late sign-ups, one cannot be welcomed.
            count += self.late.saturating_sub(1);
        }
        count
    }

    fn group(&self, service: Service) -> &Group {
        &self.groups[&service]
    }

    fn group_mut(&mut self, service: Service) -> Result<&mut Group> {
        self.groups
            .get_mut(&service)
            .ok_or_else(|| crate::Error::fact(format!("{service} has no group")))
    }

    /// Ends everything in order: readers first, then what they write with.
    async fn stop(self) -> Result<()> {
        for (_, group) in self.groups {
            group.stop().await?;
        }
        self.shop.close().await?;
        self.ground.leave().await
    }
}

/// `orders 0 1 2 · users 0`, the platform's prefix left out.
fn short_names(partitions: impl IntoIterator<Item = ferrokafka::TopicPartition>) -> String {
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let name = partition
            .topic
            .rsplit("eventmart-")
            .next()
            .unwrap_or_default()
            .to_owned();
        by_topic.entry(name).or_default().push(partition.partition);
    }
    let parts = by_topic.into_iter().map(|(topic, mut numbers)| {
        numbers.sort_unstable();
        format!("{topic} {}", ranges(&numbers))
    });
    parts.collect::<Vec<_>>().join(" · ")
}

/// `0-3 7`.
fn ranges(numbers: &[i32]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrokafka::TopicPartition;

    #[test]
    fn partitions_are_named_briefly() {
        let of = |topic: &str, numbers: &[i32]| {
            numbers
                .iter()
                .map(|number| TopicPartition::new(topic, *number))
                .collect::<Vec<_>>()
        };
        let all = [
            of("em-42-x-eventmart-orders", &[3, 0, 1, 2, 7]),
            of("eventmart-users", &[1]),
        ]
        .concat();
        assert_eq!(short_names(all), "orders 0-3 7 · users 1");
    }
}
