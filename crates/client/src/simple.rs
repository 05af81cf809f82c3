//! The simple mode: rskafka's own client, for those who want no more than it offers.

use tokio::time::timeout;

use crate::config::ClientConfig;
use crate::error::{Error, ErrorKind};

pub use ::rskafka;

/// Connects rskafka's own client to the same servers, with the same client id and limit on responses.
///
/// What it lacks is in this crate: idempotence, groups, transactions, lz4 and zstd, deadlines. The
/// address hook does not apply to it.
///
/// # Errors
/// [`ErrorKind::Config`] for bad settings, [`ErrorKind::Connect`] if no server can be reached within
/// `socket.connection.setup.timeout.ms`.
pub async fn rskafka_client(config: &ClientConfig) -> Result<rskafka::client::Client, Error> {
    config.validate()?;
    let build = rskafka::client::ClientBuilder::new(config.bootstrap_servers.clone())
        .client_id(std::sync::Arc::clone(&config.client_id))
        .max_message_size(config.receive_bytes_max)
        .build();
    match timeout(config.connection_setup_timeout, build).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => {
            Err(Error::new(ErrorKind::Connect, "no server could be reached").with_source(error))
        }
        Err(_) => Err(Error::new(ErrorKind::Connect, "no server answered in time")
            .with_elapsed(config.connection_setup_timeout)),
    }
}
