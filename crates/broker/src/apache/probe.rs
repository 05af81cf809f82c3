//! Is a node ready? One Metadata request over a connection of its own.

use bytes::Bytes;
use ferrokafka_wire::frame;
use ferrokafka_wire::messages::{MetadataRequest, MetadataResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Served by Kafka 1.0 and everything since: it says who the controller is.
const VERSION: i16 = 5;
/// A small cluster without topics answers in a few hundred bytes.
const RESPONSE_MAX: u32 = 1 << 20;

/// What a node knows about its cluster.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) brokers: usize,
    pub(super) has_controller: bool,
}

/// Asks a node; the caller bounds the time. The error says why there was no answer.
pub(super) async fn ask(address: &str) -> Result<Seen, String> {
    let response = exchange(address).await?;
    let seen = Seen {
        brokers: response.brokers.len(),
        has_controller: response.controller_id.0 >= 0,
    };
    Ok(seen)
}

async fn exchange(address: &str) -> Result<MetadataResponse, String> {
    // No topics: an empty list means none, and none means all.
    let request = MetadataRequest::default().with_topics(Some(Vec::new()));
    let bytes =
        frame::encode_request(VERSION, 1, Some("ferrokafka-probe"), &request).map_err(text)?;
    let mut stream = TcpStream::connect(address).await.map_err(text)?;
    stream.write_all(&bytes).await.map_err(text)?;
    let length = stream.read_u32().await.map_err(text)?;
    if length > RESPONSE_MAX {
        return Err(format!("it announced an answer of {length} bytes"));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.map_err(text)?;
    let mut body = Bytes::from(body);
    frame::decode_response_header::<MetadataRequest>(&mut body, VERSION).map_err(text)?;
    frame::decode_response::<MetadataRequest>(body, VERSION).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
