//! Which versions of which API a broker serves: ApiVersions, v0 to v4.
//!
//! v3 adds our software's name and version and flexible headers; v4 fixes how features at version 0 are
//! told. A broker that does not know the version asked for answers with `UNSUPPORTED_VERSION` in the
//! shape of v0 (KIP-511), and names the versions of ApiVersions it does know.

use std::collections::HashMap;

use bytes::Bytes;
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ferrokafka_wire::protocol::{Message, Request, StrBytes, VersionRange};

use crate::decode;

/// Under which name brokers count this software.
const SOFTWARE_NAME: &str = "ferrokafka";

/// What a broker said it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    apis: HashMap<i16, (i16, i16)>,
    finalized_features: HashMap<String, i16>,
}

impl Versions {
    /// The versions of an API the broker serves.
    pub(crate) fn of(&self, api_key: i16) -> Option<(i16, i16)> {
        self.apis.get(&api_key).copied()
    }

    /// The versions of an API that broker and client both know.
    pub(crate) fn common<R: Request>(&self) -> Option<(i16, i16)> {
        let (min, max) = self.of(R::KEY)?;
        let VersionRange {
            min: own_min,
            max: own_max,
        } = R::VERSIONS;
        let (min, max) = (min.max(own_min), max.min(own_max));
        (min <= max).then_some((min, max))
    }

    /// All APIs the broker serves.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i16, (i16, i16))> + '_ {
        self.apis.iter().map(|(key, range)| (*key, *range))
    }

    /// The level of a feature that the cluster agreed on.
    pub(crate) fn finalized_feature(&self, name: &str) -> Option<i16> {
        self.finalized_features.get(name).copied()
    }
}

/// What an answer to ApiVersions means.
pub(crate) enum Negotiated {
    /// This is what the broker can do.
    Done(Versions),
    /// Ask again in this version.
    AskAgain(i16),
}

/// The request, in any of its versions.
pub(crate) fn request(version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default();
    if version < 3 {
        return request;
    }
    request
        .with_client_software_name(StrBytes::from_static_str(SOFTWARE_NAME))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")))
}

/// Reads the answer to a request of this version. `Err` says in words what is wrong with it.
pub(crate) fn read(body: &Bytes, version: i16) -> Result<Negotiated, String> {
    let code = body
        .get(..2)
        .and_then(|code| code.try_into().ok())
        .map(i16::from_be_bytes)
        .map(ErrorCode::from_code)
        .ok_or("the answer to ApiVersions is cut off")?;
    if code == ErrorCode::UnsupportedVersion && version > 0 {
        return Ok(Negotiated::AskAgain(version_to_ask(body, version)));
    }
    if !code.is_none() {
        return Err(format!("the broker refuses ApiVersions: {code}"));
    }
    let response = decoded(body, version)?;
    let mut versions = Versions::default();
    for api in &response.api_keys {
        if api.min_version > api.max_version || api.min_version < 0 {
            return Err(format!(
                "the broker offers API {} in versions {} to {}",
                api.api_key, api.min_version, api.max_version
            ));
        }
        versions
            .apis
            .insert(api.api_key, (api.min_version, api.max_version));
    }
    for feature in &response.finalized_features {
        versions
            .finalized_features
            .insert(feature.name.to_string(), feature.max_version_level);
    }
    Ok(Negotiated::Done(versions))
}

/// The version to ask with after `refused`: the highest below it that the broker named, else 0.
fn version_to_ask(body: &Bytes, refused: i16) -> i16 {
    decoded(body, 0)
        .ok()
        .and_then(|response| {
            response
                .api_keys
                .iter()
                .find(|api| api.api_key == ApiVersionsRequest::KEY)
                .map(|api| api.max_version)
        })
        .unwrap_or(0)
        .clamp(0, ApiVersionsRequest::VERSIONS.max)
        .min(refused - 1)
}

fn decoded(body: &Bytes, version: i16) -> Result<ApiVersionsResponse, String> {
    decode::body::<ApiVersionsRequest>(body.clone(), version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_encodes() {
        crate::adapter::encodes_in_every_version(request);
    }
}
