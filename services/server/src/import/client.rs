//! The server that an import talks to: gRPC with an API key.

use std::collections::HashMap;
use std::time::Duration;

use proto::catalog::v1 as catalog;
use proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use proto::stock::v1 as stock;
use proto::stock::v1::stock_service_client::StockServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::cli::Failure;

const CONNECT: Duration = Duration::from_secs(5);
/// Rows of a page.
const PAGE: u32 = 500;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Products and locations that the server has: ids by SKU and by code.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    pub(crate) variants: HashMap<String, String>,
    pub(crate) locations: HashMap<String, String>,
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) catalog: CatalogServiceClient<Channel>,
    pub(crate) stock: StockServiceClient<Channel>,
    key: MetadataValue<Ascii>,
}

impl Client {
    pub(crate) async fn connect(url: &str, key: &str) -> Result<Client, Failure> {
        let bearer = format!("Bearer {key}").parse();
        let key = bearer.map_err(|_| Failure::Usage("the API key has characters that no key has".into()))?;
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|_| Failure::Usage(format!("'{url}' is no URL, it looks like http://127.0.0.1:8080")))?;
        let channel = endpoint.connect_timeout(CONNECT).tcp_nodelay(true).connect().await;
        let channel = channel.map_err(|_| {
            Failure::Unavailable(format!("no server answers at '{url}': start it with `cargo-pilot serve`"))
        })?;
        Ok(Client {
            catalog: CatalogServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            stock: StockServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX),
            key,
        })
    }

    /// A request with the credential and, for what posts, an idempotency key.
    pub(crate) fn request<T>(&self, message: T, idempotency_key: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.key.clone());
        if let Some(Ok(key)) = idempotency_key.map(str::parse::<MetadataValue<Ascii>>) {
            request.metadata_mut().insert("idempotency-key", key);
        }
        request
    }

    /// All products and locations.
    pub(crate) async fn known(&self) -> Result<Known, Failure> {
        let mut known = Known::default();
        let mut page_token = String::new();
        loop {
            let ask = catalog::ListVariantsRequest { page_size: PAGE, page_token, ..Default::default() };
            let page = self
                .catalog
                .clone()
                .list_variants(self.request(ask, None))
                .await
                .map_err(failed)?
                .into_inner();
            known.variants.extend(page.variants.into_iter().map(|variant| (variant.sku, variant.id)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        loop {
            let ask = stock::ListLocationsRequest { page_size: PAGE, page_token, ..Default::default() };
            let page = self
                .stock
                .clone()
                .list_locations(self.request(ask, None))
                .await
                .map_err(failed)?
                .into_inner();
            known.locations.extend(page.locations.into_iter().map(|location| (location.code, location.id)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(known);
            }
        }
    }
}

/// What a refused call means for the import.
pub(crate) fn failed(status: Status) -> Failure {
    match status.code() {
        Code::Unauthenticated => Failure::Usage("the server does not know this API key".into()),
        Code::PermissionDenied => {
            Failure::Usage(format!("the API key may not do this: {}", status.message()))
        }
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled | Code::Aborted => {
            Failure::Unavailable(format!(
                "the server stopped answering ({}): see that it runs and repeat the same command, it goes on \
                 where it was",
                status.message()
            ))
        }
        _ => Failure::Data(format!("the server refused a request: {}", status.message())),
    }
}
