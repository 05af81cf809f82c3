//! A service stops between processing and commit, at a scripted point: what is delivered again is counted exactly.

use std::collections::BTreeSet;

use tokio::time::timeout;

use crate::demo::STARTING_ORDER;
use crate::demo::day4::{Play, flow};
use crate::demo::ground::Ground;
use crate::demo::read_back;
use crate::demo::watch::PATIENCE;
use crate::error::{Error, Result};
use crate::platform::Service;
use crate::scenario::{Column, Stage};
use crate::service::Stop;
use crate::topic::Topic;

const SERVICE: Service = Service::Audit;

/// The script: it commits after every tenth event and stops after the 17th.
const COMMIT_EVERY: usize = 10;
pub(super) const STOPS_AFTER: usize = 17;
const REDELIVERED: usize = STOPS_AFTER % COMMIT_EVERY;

pub(super) async fn stop_between_processing_and_commit(
    play: &mut Play<'_>,
    stage: &mut Stage,
) -> Result<()> {
    let mut step = stage
        .step("A service stops between processing and commit")
        .await;
    step.why(
        "what is processed and not committed is delivered again: at least once. A commit before processing would lose \
         it instead",
    );
    // It is stopped in peace, events pile up, and then it works them off by the script.
    let group = play.group_mut(SERVICE)?;
    for member in std::mem::take(&mut group.members) {
        let name = member.name().to_owned();
        member.stop(Stop::Leave).await?;
        group.watch.forget(&name);
    }
    flow::tell_visits(play, play.sessions_member_dead, play.sessions.len()).await?;
    let expected = play.expected(play.sessions.len());
    let others: Vec<Service> = STARTING_ORDER
        .into_iter()
        .filter(|service| *service != SERVICE)
        .collect();
    flow::caught_up(play, &step, &expected, &others).await?;
    let waiting = play.ground.lag(SERVICE).await?;
    let due = play.expected_of(SERVICE, &expected)
        - play.group(SERVICE).watch.look(|seen| seen.distinct());
    step.fact("events waiting for AuditService", due as i64, waiting);

    let group_name = play.ground.names().name(&SERVICE.group());
    let before: i64 = play.ground.committed(&group_name).await?.values().sum();
    let mut config = play.ground.member_config(SERVICE, "audit-2");
    (
        config.commit_every,
        config.commit_when_idle,
        config.die_after,
    ) = (COMMIT_EVERY, false, Some(STOPS_AFTER));
    let group = play.group(SERVICE);
    let mut scripted = play
        .ground
        .member(config, &group.handler, &group.publisher, &group.watch)
        .await?;
    let late = || Error::timeout("audit-2 did not reach its scripted point");
    let report = timeout(PATIENCE, scripted.ended())
        .await
        .map_err(|_| late())??;
    group.watch.forget("audit-2");
    let after: i64 = play.ground.committed(&group_name).await?.values().sum();
    let columns = [Column::text("audit-2"), Column::number("events")];
    let row = |what: &str, count: usize| vec![what.to_owned(), count.to_string()];
    let committed = (after - before) as usize;
    let rows = vec![
        row("processed", report.handled),
        row("committed, as the coordinator says", committed),
        row("processed and not committed", report.uncommitted),
    ];
    step.table("when it stopped", &columns, rows);
    step.fact(
        "events committed by audit-2",
        STOPS_AFTER - REDELIVERED,
        committed,
    );

    recover(play, &mut step).await?;
    step.done()
}

/// A new member takes over: the uncommitted events come again, and their entries are written a second time.
async fn recover(play: &mut Play<'_>, step: &mut crate::scenario::Step<'_>) -> Result<()> {
    let partitions = Ground::partitions_read_by(SERVICE);
    let expected = play.expected(play.sessions.len());
    let config = play.ground.member_config(SERVICE, "audit-3");
    let group = play.group(SERVICE);
    let member = play
        .ground
        .member(config, &group.handler, &group.publisher, &group.watch)
        .await?;
    group
        .watch
        .wait("audit-3 takes over", |seen| {
            seen.is_shared_by(&["audit-3"], partitions).then_some(())
        })
        .await?;
    play.group_mut(SERVICE)?.members.push(member);
    flow::caught_up(play, step, &expected, &[SERVICE]).await?;
    play.ground.wait_for_lag_zero(SERVICE).await?;

    let redelivered = play.group(SERVICE).watch.look(|seen| seen.redelivered());
    step.fact("events delivered again", REDELIVERED, redelivered);
    let entries = read_back::events(
        &play.ground,
        &read_back::topic(&play.ground, Topic::Audit).await?,
    );
    let distinct: BTreeSet<_> = entries.iter().map(|entry| entry.event_id).collect();
    step.fact(
        "entries on the audit topic that are there twice",
        REDELIVERED,
        entries.len() - distinct.len(),
    );
    step.fact(
        "entries on the audit topic, each counted once",
        expected.read_by(SERVICE),
        distinct.len(),
    );
    step.note("an entry's id is derived from the event it is about, so a reader can tell the second from the first");
    Ok(())
}
