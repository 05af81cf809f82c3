//! Groups: every error and every state that a client can see, asked of both brokers in one script.

use ferrokafka_broker::apache::ApacheKafka;
use ferrokafka_broker::{ErrorCode, TestBroker};
use ferrokafka_wire::messages::create_topics_request::CreatableTopic;
use ferrokafka_wire::messages::leave_group_request::MemberIdentity;
use ferrokafka_wire::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ferrokafka_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic,
};
use ferrokafka_wire::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use tokio::time::{Duration, sleep, timeout};

use crate::driver::Driver;
use crate::group_member::{Member, group_id, text, topic_name};

/// What was asked and what was answered, one line each.
struct Script {
    address: String,
    admin: Driver,
    lines: Vec<String>,
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code)
}

impl Script {
    async fn start(address: &str) -> Self {
        let mut admin = Driver::connect_address(address).await;
        for (name, partitions) in [("t", 2), ("u", 1)] {
            let topic = CreatableTopic::default()
                .with_name(topic_name(name))
                .with_num_partitions(partitions)
                .with_replication_factor(1);
            let request = CreateTopicsRequest::default()
                .with_topics(vec![topic])
                .with_timeout_ms(10_000);
            assert_eq!(admin.call(5, &request).await.topics[0].error_code, 0);
        }
        // Kafka creates and loads the topic of the offsets when it is first asked for a coordinator.
        let ready = async {
            let find = FindCoordinatorRequest::default().with_key(text("g"));
            while admin.call(3, &find).await.error_code != 0
                || Self::probe(&mut admin).await != ErrorCode::None
            {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(60), ready)
            .await
            .expect("a coordinator");
        Self {
            address: address.to_owned(),
            admin,
            lines: Vec::new(),
        }
    }

    async fn probe(admin: &mut Driver) -> ErrorCode {
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id("g"))
            .with_topics(None);
        code(admin.call(7, &request).await.error_code)
    }

    fn say(&mut self, what: &str, answer: impl std::fmt::Debug) {
        self.lines.push(format!("{what}: {answer:?}"));
    }

    async fn member(&self, group: &str) -> Member {
        Member::with(Driver::connect_address(&self.address).await, group)
    }

    fn joined(&mut self, what: &str, member: &Member, joined: &JoinGroupResponse) {
        let who = match &*joined.leader {
            "" => "nobody",
            leader if *leader == *member.id => "itself",
            _ => "another",
        };
        let answer = (
            code(joined.error_code),
            joined.generation_id,
            joined.protocol_type.as_deref().map(str::to_owned),
            joined.protocol_name.as_deref().map(str::to_owned),
            format!(
                "leader {who}, {} members, skip {}",
                joined.members.len(),
                joined.skip_assignment
            ),
            joined.member_id.is_empty(),
        );
        self.say(what, answer);
    }

    async fn delete(&mut self, what: &str, group: &str) {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
        let answer = code(self.admin.call(2, &request).await.results[0].error_code);
        self.say(what, answer);
    }

    async fn describe(&mut self, what: &str, group: &str) {
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![group_id(group)])
            .with_include_authorized_operations(true);
        let described = self.admin.call(5, &request).await;
        let group = &described.groups[0];
        let members = group.members.iter().map(|member| {
            (
                member.client_id.to_string(),
                member.client_host.to_string(),
                member.group_instance_id.as_deref().map(str::to_owned),
                member.member_metadata.clone(),
                member.member_assignment.clone(),
            )
        });
        let answer = (
            code(group.error_code),
            group.group_state.to_string(),
            group.protocol_type.to_string(),
            group.protocol_data.to_string(),
            group.authorized_operations,
            members.collect::<Vec<_>>(),
        );
        self.say(what, answer);
    }

    async fn list(&mut self, what: &str, states: &[&str], types: &[&str]) {
        let texts = |values: &[&str]| values.iter().map(|value| text(value)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default()
            .with_states_filter(texts(states))
            .with_types_filter(texts(types));
        let mut listed: Vec<_> = self.admin.call(5, &request).await.groups;
        listed.sort_by(|a, b| a.group_id.0.cmp(&b.group_id.0));
        let rows = listed.iter().map(|group| {
            format!(
                "{} {} {} {}",
                group.group_id.as_str(),
                group.protocol_type,
                group.group_state,
                group.group_type
            )
        });
        let rows: Vec<_> = rows.collect();
        self.say(what, rows);
    }

    async fn fetch(&mut self, what: &str, group: &str) {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name("t"))
            .with_partition_indexes(vec![0, 1, 7]);
        let request = OffsetFetchRequest::default().with_group_id(group_id(group));
        let one = self
            .admin
            .call(7, &request.clone().with_topics(Some(vec![topic])))
            .await;
        let found = one.topics.iter().flat_map(|topic| &topic.partitions);
        let found = found.map(|p| {
            (
                p.partition_index,
                p.committed_offset,
                p.committed_leader_epoch,
                p.metadata.clone(),
                p.error_code,
            )
        });
        let found: Vec<_> = found.collect();
        self.say(what, (code(one.error_code), found));
        let all = self.admin.call(7, &request.with_topics(None)).await;
        self.say(what, (code(all.error_code), all.topics.len()));
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_topics(None);
        let many = self
            .admin
            .call(8, &OffsetFetchRequest::default().with_groups(vec![group]))
            .await;
        self.say(
            what,
            (code(many.groups[0].error_code), many.groups[0].topics.len()),
        );
    }

    async fn delete_offsets(&mut self, what: &str, group: &str) {
        let topic = |name| {
            OffsetDeleteRequestTopic::default()
                .with_name(topic_name(name))
                .with_partitions(vec![OffsetDeleteRequestPartition::default()])
        };
        let request = OffsetDeleteRequest::default()
            .with_group_id(group_id(group))
            .with_topics(vec![topic("t"), topic("u"), topic("none")]);
        let response = self.admin.call(0, &request).await;
        let mut codes: Vec<_> = response
            .topics
            .iter()
            .map(|topic| (topic.name.to_string(), code(topic.partitions[0].error_code)))
            .collect();
        codes.sort_by(|a, b| a.0.cmp(&b.0));
        self.say(what, (code(response.error_code), codes));
    }

    async fn leave(&mut self, what: &str, group: &str, members: &[(&str, Option<&str>)]) {
        let members = members.iter().map(|(id, instance)| {
            MemberIdentity::default()
                .with_member_id(text(id))
                .with_group_instance_id(instance.map(text))
        });
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(group))
            .with_members(members.collect());
        let left = self.admin.call(5, &request).await;
        let codes: Vec<_> = left
            .members
            .iter()
            .map(|member| code(member.error_code))
            .collect();
        self.say(what, (code(left.error_code), codes));
    }

    async fn strangers(&mut self, what: &str, group: &str) {
        let mut member = self.member(group).await;
        member.id = "stranger".to_owned();
        let joined = member.driver.call(9, &member.join_request()).await;
        self.joined(&format!("{what}: join"), &member, &joined);
        for generation in [-1, 0, 1, 3] {
            member.generation = generation;
            let synced = code(member.sync(&[]).await.error_code);
            let beat = member.heartbeat().await;
            self.say(
                &format!("{what}: sync and heartbeat in {generation}"),
                (synced, beat),
            );
        }
        let commit = member.commit("t", 0, 1).await;
        self.say(&format!("{what}: commit"), commit);
        self.leave(
            &format!("{what}: leave"),
            group,
            &[("stranger", None), ("", Some("pod"))],
        )
        .await;
        let old = LeaveGroupRequest::default()
            .with_group_id(group_id(group))
            .with_member_id(text("stranger"));
        let old = code(self.admin.call(1, &old).await.error_code);
        self.say(&format!("{what}: leave in the old form"), old);
    }

    async fn unknown_groups(&mut self) {
        for group in ["none", ""] {
            let what = format!("group {group:?}");
            self.strangers(&what, group).await;
            self.describe(&format!("{what}: describe"), group).await;
            self.delete(&format!("{what}: delete"), group).await;
            self.delete_offsets(&format!("{what}: delete offsets"), group)
                .await;
            self.fetch(&format!("{what}: fetch"), group).await;
        }
        let mut nameless = self.member("").await;
        let commit = nameless.commit("t", 0, 1).await;
        self.say("a simple commit under the empty group id", commit);
        let joined = nameless.driver.call(9, &nameless.join_request()).await;
        self.joined("join the empty group id", &nameless, &joined);
    }

    async fn refused_joins(&mut self) {
        let mut member = self.member("refused").await;
        for session_timeout_ms in [5_999, 1_800_001, 0, -1] {
            member.session_timeout_ms = session_timeout_ms;
            let joined = member.driver.call(9, &member.join_request()).await;
            self.joined(
                &format!("session timeout {session_timeout_ms}"),
                &member,
                &joined,
            );
        }
        member.session_timeout_ms = 10_000;
        for version in [2, 5, 9] {
            let none = member.join_request().with_protocols(Vec::new());
            let joined = member.driver.call(version, &none).await;
            self.joined("no protocols", &member, &joined);
        }
        let untyped = member.join_request().with_protocol_type(text(""));
        let joined = member.driver.call(9, &untyped).await;
        self.joined("no protocol type", &member, &joined);
        self.describe("after refused joins", "refused").await;
    }

    async fn a_life(&mut self) {
        let mut simple = self.member("g").await;
        let first = simple.commit("t", 1, 3).await;
        self.say("a simple commit", first);
        self.describe("a simple group", "g").await;
        self.list("a simple group is listed", &[], &[]).await;
        let mut member = self.member("g").await;
        let asked = member.driver.call(9, &member.join_request()).await;
        self.joined("first join", &member, &asked);
        self.describe("an id is out", "g").await;
        let joined = member.join().await;
        self.joined("second join", &member, &joined);
        self.describe("joined", "g").await;
        let (beat, commit) = (member.heartbeat().await, member.commit("t", 0, 5).await);
        self.say("heartbeat and commit before the sync", (beat, commit));
        let commit = simple.commit("t", 0, 5).await;
        self.say("a simple commit before the sync", commit);
        self.delete("delete before the sync", "g").await;
        self.delete_offsets("delete offsets before the sync", "g")
            .await;
        let again = member.join().await;
        self.joined("the same join again", &member, &again);
        self.syncs(&mut member).await;
        self.stable(&mut member, &mut simple).await;
        self.leave("leave", "g", &[(&member.id, None), (&member.id, None)])
            .await;
        self.describe("empty", "g").await;
        self.strangers("empty", "g").await;
        let (commit, simple) = (
            member.commit("t", 0, 6).await,
            simple.commit("t", 0, 7).await,
        );
        self.say("commits to the empty group", (commit, simple));
        self.delete_offsets("delete offsets of the empty group", "g")
            .await;
        self.fetch("fetch", "g").await;
        let next = member_anew(&mut member).join().await;
        self.joined("the next generation", &member, &next);
        self.leave("leave before the sync", "g", &[(&member.id, None)])
            .await;
        self.delete("delete", "g").await;
        self.delete("delete again", "g").await;
        self.fetch("fetch after the delete", "g").await;
    }

    async fn syncs(&mut self, member: &mut Member) {
        let request = |generation, id: &str, protocol_type: Option<&str>, name: Option<&str>| {
            SyncGroupRequest::default()
                .with_group_id(group_id("g"))
                .with_generation_id(generation)
                .with_member_id(text(id))
                .with_protocol_type(protocol_type.map(text))
                .with_protocol_name(name.map(text))
        };
        let id = member.id.clone();
        for bad in [
            request(2, &id, Some("consumer"), Some("range")),
            request(1, "stranger", Some("consumer"), Some("range")),
            request(1, &id, Some("connect"), Some("range")),
            request(1, &id, Some("consumer"), Some("sticky")),
            request(1, &id, None, None),
        ] {
            let answer = code(member.driver.call(5, &bad).await.error_code);
            self.say("a bad sync", answer);
        }
        let synced = member.sync(&[(&id, b"A"), ("ghost", b"G")]).await;
        let names = (synced.protocol_type.clone(), synced.protocol_name.clone());
        self.say("sync", (code(synced.error_code), synced.assignment, names));
        let again = member.sync(&[]).await;
        self.say("sync again", (code(again.error_code), again.assignment));
    }

    async fn stable(&mut self, member: &mut Member, simple: &mut Member) {
        self.describe("stable", "g").await;
        for (states, types) in [
            (&["Stable"][..], &[][..]),
            (&["stable"], &["classic"]),
            (&["Empty"], &[]),
            (&[], &["Consumer"]),
        ] {
            self.list(&format!("list {states:?} {types:?}"), states, types)
                .await;
        }
        let known = (
            member.commit("t", 0, 5).await,
            member.commit("u", 0, 5).await,
        );
        let unknown = (
            member.commit("none", 0, 5).await,
            member.commit("t", 99, 5).await,
        );
        self.say("commits of the member", (known, unknown));
        let commit = simple.commit("t", 0, 9).await;
        self.say("a simple commit to a live group", commit);
        for generation in [-1, 0, 2] {
            member.generation = generation;
            let answer = (member.heartbeat().await, member.commit("t", 0, 9).await);
            self.say(
                &format!("heartbeat and commit in generation {generation}"),
                answer,
            );
        }
        member.generation = 1;
        let mut long = member.commit_request("t", 0, 5);
        long.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(5000)));
        let long = member.driver.call(8, &long).await;
        self.say(
            "long metadata",
            code(long.topics[0].partitions[0].error_code),
        );
        self.delete_offsets("delete offsets of a live group", "g")
            .await;
        self.delete("delete a live group", "g").await;
        self.strangers("stable", "g").await;
        let mut misfit = self.member("g").await;
        let other = misfit.join_request().with_protocol_type(text("connect"));
        let joined = misfit.driver.call(9, &other).await;
        self.joined("another protocol type", &misfit, &joined);
        self.leave("nobody leaves", "g", &[]).await;
    }

    async fn static_members(&mut self) {
        let mut old = self.member("s").await;
        old.instance = Some("pod".to_owned());
        let joined = old.join().await;
        self.joined("a static join", &old, &joined);
        let id = old.id.clone();
        old.sync(&[(&id, b"A")]).await;
        self.describe("a static member", "s").await;
        let mut new = self.member("s").await;
        new.instance = Some("pod".to_owned());
        let joined = new.join().await;
        self.joined("a static member restarts", &new, &joined);
        let synced = new.sync(&[]).await;
        self.say("it syncs", (code(synced.error_code), synced.assignment));
        let answers = (old.heartbeat().await, old.commit("t", 0, 1).await);
        self.say(
            "the old one",
            (answers, code(old.sync(&[]).await.error_code)),
        );
        let joined = old.driver.call(9, &old.join_request()).await;
        self.joined("the old one joins", &old, &joined);
        let mut earlier = self.member("s").await;
        earlier.instance = Some("pod".to_owned());
        let joined = earlier.driver.call(7, &earlier.join_request()).await;
        let leads = *joined.leader == *new.id;
        self.say(
            "a restart before v9",
            (code(joined.error_code), leads, joined.members.len()),
        );
        let leaving = [
            ("wrong", Some("pod")),
            ("", Some("none")),
            ("", Some("pod")),
        ];
        self.leave("leave by instance", "s", &leaving).await;
        self.describe("the static member has left", "s").await;
    }
}

fn member_anew(member: &mut Member) -> &mut Member {
    member.id.clear();
    member.generation = -1;
    member
}

async fn transcript(address: &str) -> Vec<String> {
    let mut script = Script::start(address).await;
    script.unknown_groups().await;
    script.refused_joins().await;
    script.a_life().await;
    script.static_members().await;
    script.lines
}

#[tokio::test]
async fn groups_answer_as_those_of_apache_kafka() {
    let embedded = TestBroker::builder().start().await.unwrap();
    let ours = transcript(&embedded.bootstrap()).await;
    let kafka = ApacheKafka::builder()
        .nodes(1)
        .property("group.min.session.timeout.ms", "6000")
        // One, so that the coordinator of one group is ready for all.
        .property("offsets.topic.num.partitions", "1")
        .start()
        .await
        .unwrap();
    let theirs = transcript(&kafka.bootstrap()).await;
    kafka.stop().await;
    let differences: Vec<String> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("ours:   {ours}\ntheirs: {theirs}"))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 80, "{} answers", ours.len());
}
