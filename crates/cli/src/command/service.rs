//! `eventmart service NAME`: one service alone, its log on stdout, until it has told its story or Ctrl-C.

use std::io::Write;
use std::sync::Arc;

use eventmart_core::error::{Error, ErrorKind, Result};
use eventmart_core::event::{Event, Payload};
use eventmart_core::service::{Alone, Change, Handled, Member, Observer, Outcome, Rebalance, Stop};
use eventmart_core::{Encoding, Json, Service};
use serde_json::{Value, json};

use crate::args::{Format, ServiceArgs, ServiceName};
use crate::failure::Exit;
use crate::interrupt::Interrupt;

pub(crate) async fn run(args: ServiceArgs) -> Result<Exit> {
    let mut interrupt = Interrupt::listen();
    let encoding: Arc<dyn Encoding> = match args.format {
        Format::Json => Arc::new(Json),
    };
    let service = service(args.name);
    let Some(alone) = interrupt
        .or(Alone::connect(
            service,
            &args.cluster.broker,
            encoding,
            args.seed,
        ))
        .await
    else {
        return Ok(Exit::Interrupted);
    };
    let alone = alone.map_err(|error| match error.kind() {
        ErrorKind::Broker | ErrorKind::Timeout => Error::new(
            ErrorKind::Broker,
            format!("no Kafka broker answers at {}", args.cluster.broker),
        )
        .because(error)
        .fix("start a broker with: eventmart dev; or say where one is: --broker HOST:PORT"),
        _ => error,
    })?;
    let log = Arc::new(Log { json: args.json });
    let member = alone.join(Arc::clone(&log) as Arc<dyn Observer>).await?;
    let story = alone.story();
    let told = interrupt
        .or(alone.tell(&story, args.rate, |event, at| {
            log.sent(event, &at.topic_partition.to_string(), at.offset)
        }))
        .await;
    let interrupted = match (told, member) {
        (None, member) => {
            leave(member, &mut interrupt).await?;
            true
        }
        (Some(told), None) => {
            told?;
            false
        }
        (Some(told), Some(mut member)) => {
            told?;
            if let Some(ended) = interrupt.or(member.ended()).await {
                ended?;
            } else {
                leave(Some(member), &mut interrupt).await?;
            }
            true
        }
    };
    interrupt.or_exit(alone.close()).await?;
    Ok(if interrupted {
        Exit::Interrupted
    } else {
        Exit::Ok
    })
}

async fn leave(member: Option<Member>, interrupt: &mut Interrupt) -> Result<()> {
    let Some(member) = member else { return Ok(()) };
    let report = interrupt.or_exit(member.stop(Stop::Leave)).await?;
    anstream::eprintln!(
        "{} records handled, all committed; left the group",
        report.handled
    );
    Ok(())
}

fn service(name: ServiceName) -> Service {
    match name {
        ServiceName::User => Service::User,
        ServiceName::Product => Service::Product,
        ServiceName::Order => Service::Order,
        ServiceName::Payment => Service::Payment,
        ServiceName::Notification => Service::Notification,
        ServiceName::Analytics => Service::Analytics,
        ServiceName::Audit => Service::Audit,
        ServiceName::Inventory => Service::Inventory,
    }
}

/// The service's log.
struct Log {
    json: bool,
}

impl Log {
    fn write(&self, text: &str, object: &Value) {
        let line = if self.json {
            object.to_string()
        } else {
            text.to_owned()
        };
        // A reader that went away is no reason to stop serving.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    fn sent(&self, event: &Event, topic_partition: &str, offset: i64) {
        let object = json!({ "log": "sent", "event_type": event.event_type(), "key": event.key(),
            "partition": topic_partition, "offset": offset });
        self.write(
            &format!("{}  {topic_partition}@{offset}", sentence(event)),
            &object,
        );
    }
}

/// As the course documents say it.
fn sentence(event: &Event) -> String {
    match &event.payload {
        Payload::UserRegistered(user) => format!("User registered: {}", user.user_id),
        Payload::UserUpdated(user) => format!("User updated: {}", user.user_id),
        Payload::ProductCreated(product) => format!("Product created: {}", product.product_id),
        Payload::OrderPlaced(order) => format!("Order placed: {}", order.order_id),
        Payload::PaymentCompleted(payment) => format!("Payment completed: {}", payment.payment_id),
        _ => format!("{}: {}", event.event_type(), event.key()),
    }
}

impl Observer for Log {
    fn handled(&self, handled: Handled) {
        let place = format!("{}@{}", handled.topic_partition, handled.offset);
        let what = handled.event.as_ref().map_or("no event", Event::event_type);
        let (text, outcome) = match &handled.outcome {
            Outcome::Processed { led_to } => (
                format!("Processing {what} event  {place}, led to {led_to}"),
                json!({ "led_to": led_to }),
            ),
            Outcome::DeadLettered { error } => (
                format!(
                    "put aside {what} after {} attempts  {place}: {error}",
                    handled.attempts
                ),
                json!({ "error": error }),
            ),
        };
        let object = json!({ "log": "handled", "event_type": what, "partition": handled.topic_partition.to_string(),
            "offset": handled.offset, "attempts": handled.attempts, "outcome": outcome });
        self.write(&text, &object);
    }

    fn rebalanced(&self, rebalance: Rebalance) {
        let verb = match rebalance.change {
            Change::Assigned => "assigned",
            Change::Revoked => "revoked",
            Change::Lost => "lost",
        };
        let names: Vec<String> = rebalance
            .partitions
            .iter()
            .map(ToString::to_string)
            .collect();
        let object =
            json!({ "log": verb, "generation": rebalance.generation, "partitions": names });
        self.write(
            &format!(
                "generation {}: {verb} {}",
                rebalance.generation,
                names.join(" ")
            ),
            &object,
        );
    }
}
