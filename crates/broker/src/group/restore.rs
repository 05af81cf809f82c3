//! A group from its journal entries: after a restart, or on the node that takes over.

use std::sync::Arc;

use super::classic::{Group, State};
use super::member_id::MemberIds;
use super::record::Record;
use super::{GroupConfig, Name, Now};

impl Group {
    /// The group as its last entries describe it; `None` when there are none.
    ///
    /// Members come back with their assignment and a fresh session timer, as in Kafka: a client that
    /// kept its member id goes on without noticing, one that died meanwhile is evicted in time.
    /// Rounds of joining are not in the journal; who was in one is told that the generation is wrong.
    pub(super) fn restore(
        id: Name,
        config: Arc<GroupConfig>,
        ids: MemberIds,
        now: Now,
        records: impl IntoIterator<Item = Record>,
    ) -> Option<Self> {
        let mut group = Self::new(id, config, ids, now);
        let mut any = false;
        for record in records {
            any = true;
            match record {
                Record::Offset {
                    topic,
                    partition,
                    committed,
                    ..
                } => {
                    group.offsets.set(topic, partition, committed);
                }
                Record::Group(saved) => {
                    group.since_ms = saved.since_ms;
                    group.generation = saved.generation;
                    group.protocol_type = saved.protocol_type;
                    group.protocol = saved.protocol;
                    group.leader = saved.leader;
                    for member in saved.members {
                        if let Some(instance) = &member.instance {
                            group.statics.insert(instance.clone(), member.id.clone());
                        }
                        group.members.insert(member.id.clone(), member);
                    }
                }
            }
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.subscribed = group.read_subscriptions();
        let members: Vec<Name> = group.members.keys().cloned().collect();
        for member in members {
            group.renew_session(now, &member);
        }
        any.then_some(group)
    }
}
