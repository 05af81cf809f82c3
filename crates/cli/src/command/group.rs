//! `eventmart group`: list, describe, lag.

use std::collections::BTreeMap;

use eventmart_core::error::Result;
use eventmart_core::scenario::Column;
use ferrokafka::admin::OffsetSpec;
use ferrokafka::{Admin, TopicPartition};
use serde_json::json;

use crate::args::{GroupCommand, OutputArgs};
use crate::command::cluster;
use crate::failure::Exit;
use crate::output::{self, Row};

pub(crate) async fn run(command: GroupCommand) -> Result<Exit> {
    match command {
        GroupCommand::List { cluster, output } => list(&cluster.broker, output).await,
        GroupCommand::Describe {
            names,
            cluster,
            output,
        } => describe(&cluster.broker, &names, output).await,
        GroupCommand::Lag {
            names,
            cluster,
            output,
        } => lag(&cluster.broker, names, output).await,
    }
}

async fn list(bootstrap: &str, output: OutputArgs) -> Result<Exit> {
    let admin = cluster::admin(bootstrap).await?;
    let mut rows = Vec::new();
    for (name, group) in admin.describe_groups(&names(&admin).await?).await? {
        let group = group?;
        rows.push(Row {
            cells: vec![name.clone(), group.state.clone(), group.members.len().to_string(), group.assignor.clone()],
            json: json!({
                "group": name, "state": group.state, "members": group.members.len(), "assignor": group.assignor,
            }),
        });
    }
    let columns = [
        Column::text("group"),
        Column::text("state"),
        Column::number("members"),
        Column::text("assignor"),
    ];
    output::print(&columns, rows, output.form());
    Ok(Exit::Ok)
}

async fn names(admin: &Admin) -> Result<Vec<String>> {
    Ok(admin
        .list_groups()
        .await?
        .into_iter()
        .map(|group| group.group_id)
        .collect())
}

/// Refuses names of groups that do not exist: a coordinator calls such a group dead, and says no more.
async fn existing(admin: &Admin, wanted: &[String]) -> Result<()> {
    let known = names(admin).await?;
    match wanted.iter().find(|name| !known.contains(name)) {
        Some(name) => Err(cluster::not_found("group", name, &known)),
        None => Ok(()),
    }
}

async fn describe(bootstrap: &str, wanted: &[String], output: OutputArgs) -> Result<Exit> {
    let admin = cluster::admin(bootstrap).await?;
    existing(&admin, wanted).await?;
    let mut rows = Vec::new();
    for (name, group) in admin.describe_groups(wanted).await? {
        let group = group?;
        for member in &group.members {
            let partitions = member.assignment.clone().unwrap_or_default();
            let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            rows.push(Row {
                cells: vec![
                    name.clone(),
                    group.state.clone(),
                    member.client_id.clone(),
                    member.host.clone(),
                    list.len().to_string(),
                    list.join(" "),
                ],
                json: json!({
                    "group": name, "state": group.state, "assignor": group.assignor, "coordinator": group.coordinator,
                    "member": member.member_id, "client_id": member.client_id, "host": member.host, "partitions": list,
                }),
            });
        }
        if group.members.is_empty() {
            let dash = || "–".to_owned();
            rows.push(Row {
                cells: vec![name.clone(), group.state.clone(), dash(), dash(), "0".to_owned(), String::new()],
                json: json!({ "group": name, "state": group.state, "coordinator": group.coordinator }),
            });
        }
    }
    let columns = [
        Column::text("group"),
        Column::text("state"),
        Column::text("client"),
        Column::text("host"),
        Column::number("count"),
        Column::text("partitions"),
    ];
    output::print(&columns, rows, output.form());
    Ok(Exit::Ok)
}

async fn lag(bootstrap: &str, wanted: Vec<String>, output: OutputArgs) -> Result<Exit> {
    let admin = cluster::admin(bootstrap).await?;
    let wanted = if wanted.is_empty() {
        names(&admin).await?
    } else {
        wanted
    };
    existing(&admin, &wanted).await?;
    let mut rows = Vec::new();
    for name in wanted {
        let mut committed = BTreeMap::new();
        for (partition, offset) in admin.list_group_offsets(&name).await? {
            committed.insert(partition, offset?.offset);
        }
        let ends = ends(&admin, committed.keys()).await?;
        for (partition, offset) in committed {
            let end = ends.get(&partition).copied();
            let lag = end.map(|end| end - offset);
            let shown = |value: Option<i64>| {
                value.map_or_else(|| "–".to_owned(), |value| value.to_string())
            };
            rows.push(Row {
                cells: vec![name.clone(), partition.to_string(), offset.to_string(), shown(end), shown(lag)],
                json: json!({
                    "group": name, "topic": partition.topic.to_string(), "partition": partition.partition,
                    "committed": offset, "end": end, "lag": lag,
                }),
            });
        }
    }
    let columns = [
        Column::text("group"),
        Column::text("partition"),
        Column::number("committed"),
        Column::number("end"),
        Column::number("lag"),
    ];
    output::print(&columns, rows, output.form());
    Ok(Exit::Ok)
}

/// Ends of partitions; one whose topic was deleted has none.
async fn ends(
    admin: &Admin,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let wanted: Vec<_> = partitions
        .map(|partition| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let listed = admin.list_offsets(&wanted).await?.into_iter();
    Ok(listed
        .filter_map(|(partition, result)| Some((partition, result.ok()?.offset?)))
        .collect())
}
