//! One service alone, as a process of its own: what it writes by itself, and what it reads.

use std::sync::Arc;
use std::time::Duration;

use ferrokafka::{Admin, Assignor, Client, ClientConfig, Producer, ProducerConfig, RecordMetadata};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::encoding::Encoding;
use crate::error::Result;
use crate::event::Event;
use crate::generator::{Generator, Volume};
use crate::platform::Service;
use crate::reaction::Reactions;
use crate::seed::Seed;
use crate::service::{
    Member, MemberConfig, Observer, Publisher, handler_of, history, stock_keeper,
};
use crate::stock::Stock;
use crate::topic::{Names, Topic};

/// The longest that a service reads what was before it begins.
const READING_BACK_MAX: Duration = Duration::from_secs(120);

/// A service on its own.
pub struct Alone {
    service: Service,
    client: ClientConfig,
    encoding: Arc<dyn Encoding>,
    publisher: Publisher,
    seed: Seed,
}

impl Alone {
    /// Connects the service to its cluster.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn connect(
        service: Service,
        bootstrap: &str,
        encoding: Arc<dyn Encoding>,
        seed: u64,
    ) -> Result<Self> {
        let client = ClientConfig::new(bootstrap).client_id(service.slug());
        let producer = Producer::with_client(
            Client::connect(client.clone()).await?,
            ProducerConfig::new(),
        )?;
        let publisher = Publisher::new(producer, Arc::clone(&encoding), Names::plain());
        Ok(Self {
            service,
            client,
            encoding,
            publisher,
            seed: Seed::new(seed, Timestamp::now()),
        })
    }

    /// What it has to tell by itself: sign-ups, a catalogue, visits with their orders; nothing for a service that only
    /// answers.
    pub fn story(&self) -> Vec<Event> {
        let generator = Generator::new(self.seed, Volume::default());
        let users = generator.users();
        match self.service {
            Service::User => {
                let updates = generator.updates(&users);
                users.into_iter().chain(updates).collect()
            }
            Service::Product => generator.products(),
            Service::Order => {
                let sessions = generator.sessions(&users, &generator.products());
                sessions
                    .into_iter()
                    .flat_map(|session| session.views.into_iter().chain(session.order))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Tells its story at `rate` events a second, 0 for as fast as it can, and reports each event that the broker has.
    ///
    /// # Errors
    /// The first event that could not be written.
    pub async fn tell(
        &self,
        story: &[Event],
        rate: u32,
        told: impl Fn(&Event, &RecordMetadata),
    ) -> Result<()> {
        let began = Instant::now();
        for (at, event) in story.iter().enumerate() {
            if rate > 0 {
                sleep_until(began + Duration::from_secs_f64(at as f64 / f64::from(rate))).await;
            }
            let metadata = self.publisher.send(event).await?.await?;
            told(event, &metadata);
        }
        Ok(())
    }

    /// Joins its group, if it reads anything.
    ///
    /// # Errors
    /// When no broker answers, or the configuration is refused.
    pub async fn join(&self, observer: Arc<dyn Observer>) -> Result<Option<Member>> {
        let reactions = Reactions::new(self.seed);
        let handler = match self.service {
            Service::Inventory => Some(stock_keeper(reactions, self.stock().await?)),
            other => handler_of(other, reactions, Arc::default()),
        };
        let Some(handler) = handler else {
            return Ok(None);
        };
        let config = MemberConfig {
            name: format!("{}-{}", self.service.slug(), std::process::id()),
            group: self.service.group(),
            topics: self
                .service
                .spec()
                .reads
                .iter()
                .map(|topic| topic.name().to_owned())
                .collect(),
            assignor: Assignor::CooperativeSticky,
            session_timeout: Duration::from_secs(10),
            retry_wait: Duration::from_millis(500),
            commit_every: 100,
            commit_when_idle: true,
            die_after: None,
        };
        let client = Client::connect(self.client.clone()).await?;
        let (encoding, publisher) = (Arc::clone(&self.encoding), self.publisher.clone());
        Member::start(client, config, handler, encoding, publisher, observer).map(Some)
    }

    /// The stock as the topics tell it: a stock-keeper that is started again has forgotten its book.
    async fn stock(&self) -> Result<Stock> {
        let client = Client::connect(self.client.clone()).await?;
        let admin = Admin::with_client(client.clone());
        let mut events = [Vec::new(), Vec::new()];
        for (topic, found) in [Topic::Products, Topic::Orders]
            .into_iter()
            .zip(&mut events)
        {
            let ends = history::ends(&admin, topic.name(), topic.spec().partitions).await?;
            for record in history::records(client.clone(), ends, READING_BACK_MAX).await? {
                let value = record.value.as_deref();
                // What is no event is put aside when its turn comes in the group.
                found.extend(
                    value.and_then(|value| self.encoding.decode(&record.topic, value).ok()),
                );
            }
        }
        let [products, orders] = events;
        Ok(Stock::recall(&products, &orders))
    }

    /// Waits for what is under way and closes.
    ///
    /// # Errors
    /// When something was not acknowledged in time.
    pub async fn close(self) -> Result<()> {
        self.publisher.close().await
    }
}
