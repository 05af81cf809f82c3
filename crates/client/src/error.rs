//! The one error type of the client stack's lower half, and the one classifier of what to do about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::error_code::ErrorClass;
use ferrokafka_wire::messages::ApiKey;

use crate::route::NodeId;
use crate::topic_partition::TopicPartition;

/// What went wrong, in one word.
///
/// The code of a broker's answer is always at hand as [`Error::code`], also where the kind is one of
/// the broader ones ([`ErrorKind::Authorization`], [`ErrorKind::Fenced`], …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is unknown, malformed, or contradicts another one.
    Config,
    /// No connection to the broker could be made.
    Connect,
    /// The connection went away before the answer came.
    Disconnected,
    /// A deadline passed.
    Timeout,
    /// Bytes from the broker do not follow the protocol.
    Protocol,
    /// Broker and client share no version of this API, or a field needs a newer one.
    UnsupportedVersion,
    /// The broker answered with this error code.
    Broker(ErrorCode),
    /// The broker does not accept who we say we are.
    Authentication,
    /// The broker knows who we are and refuses the operation.
    Authorization,
    /// The client was closed.
    Closed,
    /// Someone with a newer epoch or the same static identity took over.
    Fenced,
    /// A record, request or response is larger than a limit allows.
    TooLarge,
    /// A promise this code makes to itself did not hold.
    Internal,
}

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The same request to the same broker may succeed later.
    Retry,
    /// Metadata or the coordinator is stale: refresh it, then retry.
    RefreshThenRetry,
    /// The running transaction must be aborted; the producer lives on.
    AbortTransaction,
    /// Retrying cannot help.
    Fatal,
}

/// Whether a write that failed may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The broker did not do it.
    NotSent,
    /// The broker may have done it.
    Unknown,
    /// The broker did it, and said so.
    Acked,
}

/// An error with its context: which broker, API and version, topic-partition, after how many attempts
/// and how long.
///
/// It is cheap to clone, so that every record of a batch can carry it.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: Option<ErrorCode>,
    message: Arc<str>,
    delivery: Option<Delivery>,
    context: Arc<Context>,
}

#[derive(Clone, Default)]
struct Context {
    topic_partition: Option<TopicPartition>,
    broker: Option<String>,
    node: Option<NodeId>,
    api: Option<(ApiKey, i16)>,
    attempts: Option<u32>,
    elapsed: Option<Duration>,
    hint: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message states this layer only: lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let code = match kind {
            ErrorKind::Broker(code) => Some(code),
            _ => None,
        };
        Self(Box::new(Inner {
            kind,
            code,
            message: Arc::from(message.into()),
            delivery: None,
            context: Arc::new(Context::default()),
        }))
    }

    /// The error a broker's code stands for; `what` says what was being done ("create topic orders").
    #[must_use]
    pub fn from_code(code: ErrorCode, what: impl fmt::Display) -> Self {
        let mut error = Self::new(
            kind_of(code),
            format!("{what}: {} ({})", code.message(), code.name()),
        );
        error.0.code = Some(code);
        error
    }

    /// Names the topic-partition.
    #[must_use]
    pub fn with_topic_partition(mut self, topic_partition: TopicPartition) -> Self {
        self.context_mut().topic_partition = Some(topic_partition);
        self
    }

    /// Names the broker, by what a reader can look for: `node 1 at host:port`, or a bootstrap address.
    #[must_use]
    pub fn with_broker(mut self, broker: impl Into<String>) -> Self {
        self.context_mut().broker = Some(broker.into());
        self
    }

    /// Names the broker by its id as well.
    #[must_use]
    pub fn with_node(mut self, node: NodeId) -> Self {
        self.context_mut().node = Some(node);
        self
    }

    /// Names the API and the version that was used.
    #[must_use]
    pub fn with_api(mut self, api: ApiKey, version: i16) -> Self {
        self.context_mut().api = Some((api, version));
        self
    }

    /// Attaches the broker's code without changing the kind.
    #[must_use]
    pub fn with_code(mut self, code: ErrorCode) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Says how many attempts were made.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.context_mut().attempts = Some(attempts);
        self
    }

    /// Says how long it took.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.context_mut().elapsed = Some(elapsed);
        self
    }

    /// Adds a hint: the likely misconfiguration, naming the key.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.context_mut().hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.context_mut().source = Some(Arc::new(source));
        self
    }

    /// Says whether the write may have happened, where the layer that fails knows better than
    /// [`Error::delivery`] can tell from the kind.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = Some(delivery);
        self
    }

    /// What went wrong, in one word.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's error code, if a broker's answer is behind this error.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.0.code
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        classify(self.0.kind, self.0.code)
    }

    /// Whether waiting and trying again can help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.disposition(),
            Disposition::Retry | Disposition::RefreshThenRetry
        )
    }

    /// Whether a write that failed so may have happened. `Unknown` wherever that cannot be ruled out.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        if let Some(delivery) = self.0.delivery {
            return delivery;
        }
        match (self.0.kind, self.0.code) {
            (_, Some(code)) if code.possibly_written() => Delivery::Unknown,
            (_, Some(_)) => Delivery::NotSent,
            (ErrorKind::Disconnected | ErrorKind::Timeout | ErrorKind::Protocol, None) => {
                Delivery::Unknown
            }
            _ => Delivery::NotSent,
        }
    }

    /// The likely misconfiguration, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.context.hint.as_deref()
    }

    /// The topic-partition concerned.
    #[must_use]
    pub fn topic_partition(&self) -> Option<&TopicPartition> {
        self.0.context.topic_partition.as_ref()
    }

    /// The broker concerned.
    #[must_use]
    pub fn broker(&self) -> Option<&str> {
        self.0.context.broker.as_deref()
    }

    /// The id of the broker concerned.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.0.context.node
    }

    /// The API and version concerned.
    #[must_use]
    pub fn api(&self) -> Option<(ApiKey, i16)> {
        self.0.context.api
    }

    /// How many attempts were made.
    #[must_use]
    pub fn attempts(&self) -> Option<u32> {
        self.0.context.attempts
    }

    /// How long it took, all attempts together.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.context.elapsed
    }

    /// What happened, without its context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    fn context_mut(&mut self) -> &mut Context {
        Arc::make_mut(&mut self.0.context)
    }
}

/// Decides what can be done about an error: the only place in the stack that does.
fn classify(kind: ErrorKind, code: Option<ErrorCode>) -> Disposition {
    if let Some(code) = code {
        return match code.class() {
            ErrorClass::Retry => Disposition::Retry,
            ErrorClass::RefreshThenRetry => Disposition::RefreshThenRetry,
            ErrorClass::AbortTransaction => Disposition::AbortTransaction,
            ErrorClass::Fatal => Disposition::Fatal,
        };
    }
    match kind {
        // The broker may be gone for good, and another one may have its partitions by now.
        ErrorKind::Connect | ErrorKind::Disconnected | ErrorKind::Timeout => {
            Disposition::RefreshThenRetry
        }
        _ => Disposition::Fatal,
    }
}

/// The kind a code falls under. Codes without a broader kind of their own stay what they are.
fn kind_of(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::DelegationTokenAuthorizationFailed => ErrorKind::Authorization,
        ErrorCode::SaslAuthenticationFailed
        | ErrorCode::IllegalSaslState
        | ErrorCode::UnsupportedSaslMechanism => ErrorKind::Authentication,
        ErrorCode::ProducerFenced | ErrorCode::FencedInstanceId => ErrorKind::Fenced,
        ErrorCode::UnsupportedVersion => ErrorKind::UnsupportedVersion,
        other => ErrorKind::Broker(other),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let context = &self.0.context;
        let mut sep = " [";
        let mut item = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let written = write!(f, "{sep}{text}");
            sep = ", ";
            written
        };
        if let Some(topic_partition) = &context.topic_partition {
            item(f, format_args!("partition {topic_partition}"))?;
        }
        match (&context.broker, context.node) {
            (Some(broker), _) => item(f, format_args!("broker {broker}"))?,
            (None, Some(node)) => item(f, format_args!("broker {node}"))?,
            (None, None) => {}
        }
        if let Some((api, version)) = context.api {
            item(f, format_args!("{api:?} v{version}"))?;
        }
        if let Some(attempts) = context.attempts {
            let plural = if attempts == 1 { "" } else { "s" };
            item(f, format_args!("{attempts} attempt{plural}"))?;
        }
        if let Some(elapsed) = context.elapsed {
            item(f, format_args!("after {} ms", elapsed.as_millis()))?;
        }
        if sep == ", " {
            f.write_str("]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("disposition", &self.disposition())
            .field("delivery", &self.delivery())
            .field("message", &self.to_string())
            .field("hint", &self.0.context.hint)
            .field("source", &self.0.context.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .context
            .source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn std::error::Error + 'static))
    }
}
