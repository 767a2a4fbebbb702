//! The SDK's client as Larder wants it: our TLS, our patience, no region found by chance.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region};
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::Tuning;
use crate::config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the first byte of an answer; a stalled body is noticed by the SDK's own protection.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Reads environment and profile; the network is not touched before the first request.
/// Without `keys` the standard chain looks for credentials, at the first request as well.
pub(super) async fn connect(
    config: &config::S3,
    tuning: Tuning,
    keys: Option<Credentials>,
) -> Client {
    let http = HttpClient::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(ANSWER_TIMEOUT);
    // Each request is tried again here, parts of a multipart upload one by one, within the SDK's
    // token bucket; the retry layer above only resumes bodies and listings.
    let retries = RetryConfig::standard()
        .with_max_attempts(tuning.attempts_max)
        .with_initial_backoff(tuning.pause_first)
        .with_max_backoff(Duration::from_secs(10));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(config.region.clone()))
        .timeout_config(timeouts.build())
        .retry_config(retries);
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(keys) = keys {
        loader = loader.credentials_provider(keys);
    }
    let shared = loader.load().await;
    let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(config.path_style);
    Client::from_conf(config.build())
}
