//! What commands about a cluster share: the connection, and names that are almost right.

use std::time::Duration;

use eventmart_core::error::{Error, ErrorKind, Result};
use ferrokafka::{Admin, ClientConfig};

/// Connects, or says that nobody listens and what to do about it.
pub(crate) async fn admin(bootstrap: &str) -> Result<Admin> {
    let config = ClientConfig::new(bootstrap)
        .client_id("eventmart-cli")
        .request_timeout(Duration::from_secs(10))
        .api_timeout(Duration::from_secs(20));
    Admin::connect(config).await.map_err(|error| {
        let fix = error.hint().map_or_else(
            || {
                "start a broker with: eventmart dev; or say where one is: --broker HOST:PORT"
                    .to_owned()
            },
            str::to_owned,
        );
        Error::new(
            ErrorKind::Broker,
            format!("no Kafka broker answers at {bootstrap}"),
        )
        .because(error)
        .fix(fix)
    })
}

/// A name that does not exist, with the one that was probably meant.
pub(crate) fn not_found(what: &str, name: &str, known: &[String]) -> Error {
    let error = Error::new(ErrorKind::NotFound, format!("{what} {name} does not exist"));
    let nearest = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, other)) => error.fix(format!("did you mean {other}?")),
        None => error.fix(format!("see them all: eventmart {what} list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["eventmart-orders", "eventmart-users"].map(str::to_owned);
        assert_eq!(
            not_found("topic", "eventmart-order", &known).fix_text(),
            "did you mean eventmart-orders?"
        );
        assert_eq!(
            not_found("topic", "zzz", &known).fix_text(),
            "see them all: eventmart topic list"
        );
    }
}
