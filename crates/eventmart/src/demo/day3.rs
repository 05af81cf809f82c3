//! Day 3, event producers: four services send real flows, survive cut connections, and say what is fatal.

mod faults;
mod flow;
mod proof;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::demo::Options;
use crate::demo::ground::{Creation, Ground};
use crate::demo::group::Group;
use crate::error::Result;
use crate::event::Event;
use crate::expected::Expected;
use crate::generator::{Generator, Session, Volume};
use crate::platform::Service;
use crate::scenario::{Stage, Step};
use crate::service::{Figures, Publisher};
use crate::topic::Topic;

pub(super) const STEPS: usize = 7;

/// Visits told on a good connection; the rest while connections are cut.
const SESSIONS_WELL: usize = 60;

/// The services that answer: each reads one topic to write to another.
const ANSWERING: [Service; 2] = [Service::Payment, Service::Order];

/// The day under way.
struct Play<'a> {
    ground: Ground<'a>,
    users: Publisher,
    products: Publisher,
    shop: Publisher,
    groups: BTreeMap<Service, Group>,
    generator: Generator,
    sessions: Vec<Session>,
}

pub(super) async fn play(stage: &mut Stage, cluster: &Cluster, options: Options) -> Result<()> {
    stage.line("=== EventMart Producer Demo ===");
    let ground = Ground::prepare(cluster, options).await?;
    let generator = Generator::new(ground.seed, Volume::default());
    let sessions = generator.sessions(&generator.users(), &generator.products());
    let (users, products, shop) = (
        ground.publisher(Service::User).await?,
        ground.publisher(Service::Product).await?,
        ground.publisher(Service::Visitor).await?,
    );
    let mut play = Play {
        ground,
        users,
        products,
        shop,
        groups: BTreeMap::new(),
        generator,
        sessions,
    };
    play.create_topics(stage).await?;
    flow::register_users(&play, stage).await?;
    flow::create_catalogue(&play, stage).await?;
    flow::take_orders(&mut play, stage).await?;
    faults::cut_connections(&play, stage).await?;
    faults::fatal_error(&play, stage).await?;
    proof::read_back_everything(&play, stage).await?;
    play.stop().await
}

impl Play<'_> {
    async fn create_topics(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("Create the topics").await;
        let created = self.ground.create_topics().await?;
        let new = created
            .values()
            .filter(|creation| **creation == Creation::Created)
            .count();
        step.fact("topics created", 8, new);
        step.done()
    }

    async fn start_answering(&mut self) -> Result<()> {
        for service in ANSWERING {
            self.groups.insert(
                service,
                Group::start(&self.ground, service, &Arc::<Figures>::default()).await?,
            );
        }
        Ok(())
    }

    /// The story after the first `sessions` visits.
    fn expected(&self, sessions: usize) -> Expected {
        let generator = &self.generator;
        Expected::up_to(
            generator,
            generator.users(),
            generator.products(),
            &self.sessions[..sessions],
        )
    }

    /// Waits until the answering services have read what the story holds for them; InventoryService and the other
    /// readers do not run on this day.
    async fn answered(&self, step: &Step<'_>, expected: &Expected) -> Result<()> {
        let due = |service: Service| -> usize {
            match service {
                Service::Payment => expected.orders.len() + expected.order_outcomes.len(),
                _ => expected.payments.len(),
            }
        };
        let total: usize = ANSWERING.iter().map(|service| due(*service)).sum();
        for service in ANSWERING {
            let wanted = due(service);
            let watch = &self.groups[&service].watch;
            watch
                .wait(&format!("{service} reads {wanted} events"), |seen| {
                    (seen.distinct() >= wanted).then_some(())
                })
                .await?;
        }
        step.progress("events answered", total as u64, total as u64);
        Ok(())
    }

    /// What the topics must hold at the end, in the order of writing.
    fn story(&self) -> BTreeMap<Topic, Vec<Event>> {
        let expected = self.expected(self.sessions.len());
        let chain =
            |parts: [&Vec<Event>; 2]| parts.into_iter().flatten().cloned().collect::<Vec<_>>();
        BTreeMap::from([
            (Topic::Users, chain([&expected.users, &expected.updates])),
            (Topic::Products, expected.products.clone()),
            (
                Topic::Orders,
                chain([&expected.orders, &expected.order_outcomes]),
            ),
            (Topic::Payments, expected.payments.clone()),
            (Topic::Analytics, expected.views),
        ])
    }

    async fn stop(self) -> Result<()> {
        for (_, group) in self.groups {
            group.stop().await?;
        }
        for publisher in [self.users, self.products, self.shop] {
            publisher.close().await?;
        }
        self.ground.leave().await
    }
}
