//! Configs changed while the topic is in use, and read back.

use std::time::Duration;

use tokio::time::Instant;

use ferrokafka::ErrorCode;
use ferrokafka::admin::{AlterConfigs, AlterOp, ConfigResource};

use super::{Play, source, topic_configs};
use crate::error::{Error, Result};
use crate::scenario::{Column, Stage};
use crate::topic::Topic;

const HOUR_MS: &str = "3600000";
const TWO_HOURS_MS: &str = "7200000";

impl Play<'_> {
    pub(super) async fn alter(&self, stage: &mut Stage) -> Result<()> {
        let mut step = stage.step("Alter configs and read them back").await;
        step.why("incremental changes touch only the configs they name, and need no restart");
        let topic = self.ground.names().topic(Topic::Analytics);
        let mut rows = Vec::new();
        let changes = [
            (
                "retention.ms",
                AlterOp::Set(TWO_HOURS_MS.to_owned()),
                TWO_HOURS_MS,
                "topic",
            ),
            (
                "retention.ms",
                AlterOp::Set(HOUR_MS.to_owned()),
                HOUR_MS,
                "topic",
            ),
            (
                "max.message.bytes",
                AlterOp::Set("65536".to_owned()),
                "65536",
                "topic",
            ),
            ("max.message.bytes", AlterOp::Delete, "", "default"),
        ];
        for (config, op, expected, expected_source) in changes {
            let done = match &op {
                AlterOp::Set(value) => format!("set to {value}"),
                _ => "override removed".to_owned(),
            };
            self.change(&topic, config, op)
                .await?
                .map_err(Error::from)?;
            // With KRaft the controller answers first and the brokers learn of it a moment later.
            let deadline = Instant::now() + Duration::from_secs(10);
            let configs = loop {
                let configs = topic_configs(&self.ground, &topic).await?;
                let arrived = configs.get(config).is_some_and(|entry| {
                    let value = entry.value.as_deref().unwrap_or_default();
                    source(entry) == expected_source && (expected.is_empty() || value == expected)
                });
                if arrived || Instant::now() > deadline {
                    break configs;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let Some(entry) = configs.get(config) else {
                return Err(Error::fact(format!("{config} of {topic} is not described")));
            };
            let value = entry.value.clone().unwrap_or_default();
            if !expected.is_empty() {
                step.fact(&format!("{config} after: {done}"), expected, value.as_str());
            }
            step.fact(
                &format!("where {config} comes from after: {done}"),
                expected_source,
                source(entry),
            );
            rows.push(vec![
                config.to_owned(),
                done,
                value,
                source(entry).to_owned(),
            ]);
        }
        let refused = self
            .change(&topic, "retention.ms", AlterOp::Set("an hour".to_owned()))
            .await?;
        let code = refused
            .err()
            .and_then(|error| error.code())
            .unwrap_or(ErrorCode::None);
        step.fact(
            "a value that is no number is refused",
            ErrorCode::InvalidConfig.name(),
            code.name(),
        );

        let columns = [
            Column::text("config"),
            Column::text("change"),
            Column::text("value now"),
            Column::text("from"),
        ];
        step.table("changes of eventmart-analytics", &columns, rows);
        step.done()
    }

    /// Changes one config; the inner result is the broker's answer.
    async fn change(
        &self,
        topic: &str,
        config: &str,
        op: AlterOp,
    ) -> Result<std::result::Result<(), ferrokafka::Error>> {
        let change = AlterConfigs::new(ConfigResource::topic(topic)).change(config, op);
        let mut answers = self
            .ground
            .admin
            .incremental_alter_configs(&[change], false)
            .await?;
        answers
            .pop()
            .map(|(_, answer)| answer)
            .ok_or_else(|| Error::fact("no answer for the change"))
    }
}
