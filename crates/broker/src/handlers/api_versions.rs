//! ApiVersions 0–4.
//!
//! v1 adds the throttle time, v3 is flexible and adds client software and features, v4 may show
//! features from version 0. A version above 4 is answered in the form of v0 with
//! `UNSUPPORTED_VERSION` and the row of ApiVersions itself, so that the client can try again lower.
//! Missing: no feature is finalised, hence no KIP-890 part 2 and no KIP-848 for clients that ask.

use std::ops::RangeInclusive;

use bytes::BytesMut;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::api_versions_response::ApiVersion;
use ferrokafka_wire::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::codec::{self, CodecError};
use crate::dispatch::{Api, Context, Handler};

pub(crate) struct ApiVersions;

impl Handler for ApiVersions {
    type Request = ApiVersionsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(cx: Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
        if cx.version >= 3
            && !(is_software_name(&request.client_software_name)
                && is_software_name(&request.client_software_version))
        {
            return Self::reject(&cx, &request, ErrorCode::InvalidRequest);
        }
        let rows = cx.broker.dispatch().rows().map(row).collect();
        let mut response = ApiVersionsResponse::default().with_api_keys(rows);
        if cx.version >= 3 {
            response = response.with_finalized_features_epoch(0);
        }
        response
    }

    fn reject(_: &Context, _: &ApiVersionsRequest, error: ErrorCode) -> ApiVersionsResponse {
        ApiVersionsResponse::default().with_error_code(error.code())
    }

    fn throttle(response: &mut ApiVersionsResponse, ms: i32) {
        response.throttle_time_ms = ms;
    }
}

/// The answer to a version that is not served.
pub(crate) fn unsupported(cx: &Context) -> Result<BytesMut, CodecError> {
    let rows = cx
        .broker
        .dispatch()
        .get(ApiKey::ApiVersions)
        .map(row)
        .into_iter()
        .collect();
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(rows);
    codec::encode_body(ApiKey::ApiVersions, 0, &response)
}

fn row(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(*api.advertised.start())
        .with_max_version(*api.advertised.end())
}

/// KIP-511: letters, digits, dots and dashes, with a letter or digit at both ends.
fn is_software_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}
