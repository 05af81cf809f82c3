//! From a frame to a handler and back: one trait, one row per API.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::ApiKey;
use ferrokafka_wire::protocol::Request;

use crate::broker::{Broker, NodeId};
use crate::codec::{self, CodecError, Header};

/// Where a request came from and what it may reach.
#[derive(Clone)]
pub(crate) struct Context {
    /// State shared by all nodes of this process.
    pub(crate) broker: Arc<Broker>,
    /// The node whose listener read the request.
    pub(crate) node: NodeId,
    /// Version of the request, hence of the response.
    pub(crate) version: i16,
    /// The client's name for itself.
    pub(crate) client_id: Option<String>,
    /// The client's address, as Kafka shows it: `/127.0.0.1`.
    pub(crate) client_host: Arc<str>,
}

/// One API: its versions and how it is answered.
///
/// Handlers report failures in the response they return; a request that does not decode never gets
/// this far, its connection is closed.
pub(crate) trait Handler: 'static {
    /// The request answered.
    type Request: Request + Send;

    /// Versions served, which is what ApiVersions advertises.
    const VERSIONS: RangeInclusive<i16>;

    /// Lowest version advertised, where that differs from what is served.
    const ADVERTISED_MIN: i16 = *Self::VERSIONS.start();

    /// Answers a request.
    fn handle(
        cx: Context,
        request: Self::Request,
    ) -> impl Future<Output = <Self::Request as Request>::Response> + Send;

    /// The response that carries `error` for everything the request asked.
    fn reject(
        cx: &Context,
        request: &Self::Request,
        error: ErrorCode,
    ) -> <Self::Request as Request>::Response;

    /// Tells the client to pause; APIs whose responses cannot say so leave it.
    fn throttle(response: &mut <Self::Request as Request>::Response, ms: i32) {
        let _ = (response, ms);
    }

    /// Whether the client waits for an answer.
    fn expects_answer(request: &Self::Request) -> bool {
        let _ = request;
        true
    }

    /// Whether the connection of a client that waits for no answer is to end after this one.
    fn ends_silent_connection(response: &<Self::Request as Request>::Response) -> bool {
        let _ = response;
        false
    }
}

/// What the test-kit wants done to an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alteration {
    /// Answer this error without asking the handler.
    pub(crate) reject: Option<ErrorCode>,
    /// Pause to ask of the client.
    pub(crate) throttle_ms: i32,
}

/// A response body, or none where the client does not wait for one.
pub(crate) type Answer = Result<Option<BytesMut>, CodecError>;

type Call = fn(Context, Bytes, Alteration) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A row of the dispatch table.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) served: RangeInclusive<i16>,
    pub(crate) advertised: RangeInclusive<i16>,
    pub(crate) call: Call,
}

impl Api {
    /// The row of one handler.
    pub(crate) fn of<H: Handler>() -> Self {
        Self {
            key: key_of::<H>(),
            served: H::VERSIONS,
            advertised: H::ADVERTISED_MIN..=*H::VERSIONS.end(),
            call: |cx, body, alteration| Box::pin(call::<H>(cx, body, alteration)),
        }
    }
}

fn key_of<H: Handler>() -> ApiKey {
    ApiKey::try_from(H::Request::KEY).expect("the protocol's own request types have known keys")
}

async fn call<H: Handler>(cx: Context, body: Bytes, alteration: Alteration) -> Answer {
    let (api, version) = (key_of::<H>(), cx.version);
    let request: H::Request = codec::decode_request(api, version, body)?;
    let expects_answer = H::expects_answer(&request);
    let mut response = match alteration.reject {
        Some(error) => H::reject(&cx, &request, error),
        None => H::handle(cx, request).await,
    };
    if alteration.throttle_ms > 0 {
        H::throttle(&mut response, alteration.throttle_ms);
    }
    if expects_answer {
        codec::encode_body(api, version, &response).map(Some)
    } else if H::ends_silent_connection(&response) {
        Err(CodecError::Unanswered(api))
    } else {
        Ok(None)
    }
}

/// All rows, by key.
pub(crate) struct Dispatch {
    apis: Vec<Option<Api>>,
}

impl Dispatch {
    pub(crate) fn new(apis: Vec<Api>) -> Self {
        let mut table = Vec::new();
        for api in apis {
            let index = api.key as usize;
            if table.len() <= index {
                table.resize_with(index + 1, || None);
            }
            debug_assert!(table[index].is_none(), "{:?} has one handler", api.key);
            table[index] = Some(api);
        }
        Self { apis: table }
    }

    /// Serves no version above `max`, or nothing of the API if that is below its lowest.
    pub(crate) fn limit(&mut self, key: ApiKey, max: i16) {
        let Some(row) = self.apis.get_mut(key as usize) else {
            return;
        };
        match row {
            Some(api) if *api.served.start() <= max => {
                api.served = *api.served.start()..=max.min(*api.served.end());
                api.advertised = *api.advertised.start()..=*api.served.end();
            }
            _ => *row = None,
        }
    }

    pub(crate) fn get(&self, key: ApiKey) -> Option<&Api> {
        self.apis.get(key as usize).and_then(Option::as_ref)
    }

    /// Every row, ordered by key.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Api> {
        self.apis.iter().flatten()
    }

    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        cx: Context,
        header: &Header,
        body: Bytes,
        alteration: Alteration,
    ) -> Answer {
        let Some(api) = self.get(header.api) else {
            return Err(CodecError::UnknownApi(header.api as i16));
        };
        if api.served.contains(&header.version) {
            return (api.call)(cx, body, alteration).await;
        }
        crate::handlers::answer_unserved(&cx, header, body)
    }
}
