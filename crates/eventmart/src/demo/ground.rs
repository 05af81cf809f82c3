//! What every day needs: clients, topics, publishers, members, and questions to the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka::admin::{CreateOptions, NewTopic};
use ferrokafka::{Admin, Assignor, Client, ErrorCode, Producer, ProducerConfig, TopicPartition};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::demo::Options;
use crate::demo::watch::{PATIENCE, Watch};
use crate::encoding::{Encoding, Json};
use crate::error::{Error, Result};
use crate::platform::Service;
use crate::reaction::Reactions;
use crate::seed::Seed;
use crate::service::history;
use crate::service::{Gateway, Handler, Member, MemberConfig, Publisher};
use crate::topic::{DEAD_LETTERS, Names, TOPICS, TopicSpec};

/// The ground a day is played on.
pub(super) struct Ground<'a> {
    cluster: &'a Cluster,
    pub(super) options: Options,
    pub(super) seed: Seed,
    pub(super) reactions: Reactions,
    pub(super) gateway: Arc<Gateway>,
    pub(super) encoding: Arc<dyn Encoding>,
    pub(super) admin: Admin,
}

/// What became of a topic that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creation {
    Created,
    Unchanged,
}

impl<'a> Ground<'a> {
    pub(super) async fn prepare(cluster: &'a Cluster, options: Options) -> Result<Self> {
        let seed = Seed::new(options.seed, Timestamp::now());
        let admin = Admin::connect(cluster.client_config("eventmart-admin")).await?;
        Ok(Self {
            cluster,
            options,
            seed,
            reactions: Reactions::new(seed),
            gateway: Arc::default(),
            encoding: Arc::new(Json),
            admin,
        })
    }

    pub(super) fn names(&self) -> &Names {
        self.cluster.names()
    }

    /// Whether the broker's timers are ours to set.
    pub(super) fn is_own(&self) -> bool {
        self.cluster.is_own()
    }

    /// A connection of its own, as a process of its own would have.
    pub(super) async fn client(&self, id: &str) -> Result<Client> {
        Ok(Client::connect(self.cluster.client_config(id)).await?)
    }

    /// A client configuration, for what dials in another way than usual.
    pub(super) fn client_config(&self, id: &str) -> ferrokafka::ClientConfig {
        self.cluster.client_config(id)
    }

    /// A publisher over a producer of one's own.
    pub(super) fn publisher_over(&self, producer: Producer) -> Publisher {
        Publisher::new(producer, Arc::clone(&self.encoding), self.names().clone())
    }

    /// A producer for one service.
    pub(super) async fn publisher(&self, service: Service) -> Result<Publisher> {
        let client = self.client(service.slug()).await?;
        Ok(self.publisher_over(Producer::with_client(client, ProducerConfig::new())?))
    }

    /// How long a silent member keeps its partitions. A cluster of our own allows less than Kafka's default minimum.
    pub(super) fn session_timeout(&self) -> Duration {
        match (self.is_own(), self.options.fast) {
            (true, true) => Duration::from_secs(3),
            _ => Duration::from_secs(6),
        }
    }

    /// The usual behaviour of a member of a service's group.
    pub(super) fn member_config(&self, service: Service, name: &str) -> MemberConfig {
        MemberConfig {
            name: name.to_owned(),
            group: self.names().name(&service.group()),
            topics: service
                .spec()
                .reads
                .iter()
                .map(|topic| self.names().topic(*topic))
                .collect(),
            assignor: Assignor::CooperativeSticky,
            session_timeout: self.session_timeout(),
            retry_wait: Duration::from_millis(if self.options.fast { 20 } else { 200 }),
            commit_every: 50,
            commit_when_idle: true,
            die_after: None,
        }
    }

    /// Starts a member with a client of its own.
    pub(super) async fn member(
        &self,
        config: MemberConfig,
        handler: &Arc<dyn Handler>,
        publisher: &Publisher,
        watch: &Arc<Watch>,
    ) -> Result<Member> {
        let client = self.client(&config.name).await?;
        let (handler, encoding) = (Arc::clone(handler), Arc::clone(&self.encoding));
        Member::start(
            client,
            config,
            handler,
            encoding,
            publisher.clone(),
            Arc::clone(watch) as _,
        )
    }

    /// Creates the seven topics and the one for dead letters; those that exist stay as they are.
    pub(super) async fn create_topics(&self) -> Result<BTreeMap<String, Creation>> {
        let brokers = self.admin.describe_cluster().await?.brokers.len();
        let replication = TopicSpec::replication_factor(brokers);
        let mut topics: Vec<NewTopic> = TOPICS
            .iter()
            .map(|spec| {
                let mut topic =
                    NewTopic::new(self.names().topic(spec.topic), spec.partitions, replication);
                for config in spec.configs {
                    topic = topic.config(config.name, config.value);
                }
                topic
            })
            .collect();
        topics.push(NewTopic::new(
            self.names().name(DEAD_LETTERS),
            1,
            replication,
        ));
        self.create(&topics).await
    }

    pub(super) async fn create(&self, topics: &[NewTopic]) -> Result<BTreeMap<String, Creation>> {
        let results = self
            .admin
            .create_topics(topics, CreateOptions::default())
            .await?;
        let mut created = BTreeMap::new();
        for (name, result) in results {
            let creation = match result {
                Ok(_) => Creation::Created,
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                    Creation::Unchanged
                }
                Err(error) => return Err(error.into()),
            };
            created.insert(name, creation);
        }
        // With KRaft the controller answers before every broker knows the topics and leads their partitions.
        let names: Vec<&str> = created.keys().map(String::as_str).collect();
        self.admin.wait_for_topics(&names, PATIENCE).await?;
        Ok(created)
    }

    /// How many partitions a service's group shares.
    pub(super) fn partitions_read_by(service: Service) -> usize {
        service
            .spec()
            .reads
            .iter()
            .map(|topic| topic.spec().partitions as usize)
            .sum()
    }

    /// Where each partition of a topic ends.
    pub(super) async fn ends(
        &self,
        topic: &str,
        partitions: i32,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        history::ends(&self.admin, topic, partitions).await
    }

    /// How far a service's group is behind, over all partitions it reads.
    pub(super) async fn lag(&self, service: Service) -> Result<i64> {
        let group = self.names().name(&service.group());
        let committed = self.committed(&group).await?;
        let mut lag = 0;
        for topic in service.spec().reads {
            for (partition, end) in self
                .ends(&self.names().topic(*topic), topic.spec().partitions)
                .await?
            {
                // Without a commit the whole partition is still to be read: it began at 0.
                lag += end - committed.get(&partition).copied().unwrap_or(0);
            }
        }
        Ok(lag)
    }

    /// What a group has committed.
    pub(super) async fn committed(&self, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
        let offsets = self.admin.list_group_offsets(group).await?;
        offsets
            .into_iter()
            .map(|(partition, offset)| Ok((partition, offset?.offset)))
            .collect()
    }

    /// Waits until a service's group has committed all there is.
    pub(super) async fn wait_for_lag_zero(&self, service: Service) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lag = self.lag(service).await?;
            if lag == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::timeout(format!(
                    "{service} still lags by {lag} after {} s",
                    PATIENCE.as_secs()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many of the services' groups the coordinator calls stable.
    pub(super) async fn stable_groups(&self) -> Result<usize> {
        let names: Vec<String> = Service::readers()
            .map(|service| self.names().name(&service.group()))
            .collect();
        let mut stable = 0;
        for (_, group) in self.admin.describe_groups(&names).await? {
            stable += usize::from(group?.state == "Stable");
        }
        Ok(stable)
    }

    /// Removes what the run created, on a cluster that is shared.
    pub(super) async fn leave(self) -> Result<()> {
        if self.is_own() || self.options.keep {
            return Ok(());
        }
        remove(&self.admin, self.names().prefix()).await
    }
}

/// How long members that nobody stopped may keep their groups: their session timeout, and a moment.
const GROUPS_EMPTY: Duration = Duration::from_secs(15);

/// Removes the topics and groups of a run from a shared cluster: all whose names begin with its prefix.
///
/// # Errors
/// When the cluster cannot be asked, or refuses.
pub async fn clean_up(cluster: &Cluster) -> Result<()> {
    if cluster.is_own() || cluster.names().prefix().is_empty() {
        return Ok(());
    }
    let admin = Admin::connect(cluster.client_config("eventmart-cleaner")).await?;
    remove(&admin, cluster.names().prefix()).await
}

async fn remove(admin: &Admin, prefix: &str) -> Result<()> {
    let topics: Vec<String> = admin
        .list_topics()
        .await?
        .into_iter()
        .map(|topic| topic.name)
        .filter(|name| name.starts_with(prefix))
        .collect();
    for (_, result) in admin.delete_topics(&topics).await? {
        result?;
    }
    // A group whose members were dropped, not stopped, keeps them until their sessions time out.
    let deadline = Instant::now() + GROUPS_EMPTY;
    loop {
        let groups: Vec<String> = admin
            .list_groups()
            .await?
            .into_iter()
            .map(|group| group.group_id)
            .filter(|group| group.starts_with(prefix))
            .collect();
        let mut occupied = false;
        for (_, result) in admin.delete_groups(&groups).await? {
            match result {
                Err(error) if error.code() == Some(ErrorCode::NonEmptyGroup) => {
                    occupied = true;
                    if Instant::now() > deadline {
                        return Err(error.into());
                    }
                }
                other => other?,
            }
        }
        if !occupied {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
