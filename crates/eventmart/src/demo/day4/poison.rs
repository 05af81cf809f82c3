//! Events that fail: one that a retry saves, one that no retry saves, and records that are no events at all.

use std::collections::BTreeMap;

use ferrokafka::{ConsumerRecord, ProducerRecord};

use crate::demo::day4::{Play, flow};
use crate::demo::read_back;
use crate::error::Result;
use crate::platform::Service;
use crate::scenario::{Column, Stage};
use crate::service::dead_letter_header as header;
use crate::service::member::ATTEMPTS_MAX;
use crate::topic::{DEAD_LETTERS, Topic};

/// Refusals before the gateway relents.
const REFUSALS: u32 = 2;

pub(super) async fn retry_and_dead_letter(play: &mut Play<'_>, stage: &mut Stage) -> Result<()> {
    let mut step = stage.step("Poisoned events: retried, then put aside").await;
    step.why(
        "an event that fails for ever would stop its partition for ever: after four attempts it is put aside, with \
         what a person needs to judge it",
    );
    let late = play.generator.late_users(3);
    let [saved, poisoned, sound] = &late[..] else {
        return Err(crate::Error::fact("three late sign-ups"));
    };
    play.ground.gateway.refuse(saved, REFUSALS);
    play.ground.gateway.refuse(poisoned, u32::MAX);
    play.shop.send_all([saved, poisoned]).await?;
    let users = play.ground.names().topic(Topic::Users);
    let newer = r#"{"event_type":"user-registered","version":9,"user_id":"user-999"}"#;
    for value in ["this is no event", newer] {
        let record = ProducerRecord::new(users.as_str())
            .key(sound.key().to_owned())
            .value(value);
        play.shop.producer().send(record).await?.await?;
    }
    play.shop.send_all([sound]).await?;
    (play.late, play.malformed) = (late.len(), 2);
    let expected = play.expected(play.sessions.len());
    flow::caught_up(
        play,
        &step,
        &expected,
        &[Service::Notification, Service::Analytics, Service::Audit],
    )
    .await?;

    let attempts = |event: &crate::Event| {
        let of = |seen: &crate::demo::watch::Seen| {
            let is = |handled: &&crate::service::Handled| handled.event.as_ref() == Some(event);
            seen.handled
                .iter()
                .find(is)
                .map_or(0, |handled| handled.attempts)
        };
        play.group(Service::Notification).watch.look(of)
    };
    step.fact(
        &format!("attempts at {}, whose mail is refused twice", saved.key()),
        REFUSALS + 1,
        attempts(saved),
    );
    step.fact(
        &format!(
            "attempts at {}, whose mail is always refused",
            poisoned.key()
        ),
        ATTEMPTS_MAX,
        attempts(poisoned),
    );
    step.fact(
        &format!(
            "attempts at {}, who is behind the records that are no events",
            sound.key()
        ),
        1,
        attempts(sound),
    );

    let letters =
        read_back::records(&play.ground, &play.ground.names().name(DEAD_LETTERS), 1).await?;
    let columns = [
        Column::text("service"),
        Column::text("original record"),
        Column::number("attempts"),
        Column::text("error"),
    ];
    let mut rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    rows.sort();
    step.table("dead letters, as they lie on the topic", &columns, rows);
    // One that NotificationService gave up; two that none of the three readers of the users topic can read.
    let readers = Service::readers_of(Topic::Users).count();
    step.fact("dead letters", 1 + 2 * readers, letters.len());
    let complete = letters
        .iter()
        .filter(|letter| is_complete(letter, &users))
        .count();
    step.fact(
        "dead letters with error, attempts and origin",
        letters.len(),
        complete,
    );
    step.hint(&format!("eventmart topic describe {DEAD_LETTERS}"));
    step.done()
}

fn text(letter: &ConsumerRecord, name: &str) -> Option<String> {
    let value = letter.header(name)?.value?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

fn row(letter: &ConsumerRecord) -> Vec<String> {
    let get = |name: &str| text(letter, name).unwrap_or_else(|| "missing".to_owned());
    let topic = get(header::TOPIC);
    let topic = topic
        .rsplit("eventmart-")
        .next()
        .unwrap_or_default()
        .to_owned();
    let origin = format!("{topic}-{}@{}", get(header::PARTITION), get(header::OFFSET));
    vec![
        get(header::SERVICE),
        origin,
        get(header::ATTEMPTS),
        get(header::ERROR),
    ]
}

fn is_complete(letter: &ConsumerRecord, users: &str) -> bool {
    let numbers = [
        header::ATTEMPTS,
        header::PARTITION,
        header::OFFSET,
        header::TIMESTAMP,
    ];
    let numbers: BTreeMap<_, _> = numbers
        .iter()
        .filter_map(|name| Some((*name, text(letter, name)?.parse::<i64>().ok()?)))
        .collect();
    let origin = text(letter, header::TOPIC).is_some_and(|topic| topic == users);
    let named = [header::ERROR, header::SERVICE]
        .iter()
        .all(|name| text(letter, name).is_some_and(|text| !text.is_empty()));
    origin && named && numbers.len() == 4 && numbers[header::TIMESTAMP] == letter.timestamp
}
