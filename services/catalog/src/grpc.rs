//! The service as the contract names it: open, convert, ask, convert. Who may call is the guard's business.

use std::sync::Arc;

use journal::{Env, SharedStore};
use proto::catalog::v1::catalog_service_server::{CatalogService, CatalogServiceServer};
use proto::catalog::v1::inheritance_service_server::{InheritanceService, InheritanceServiceServer};
use proto::catalog::v1::publication_service_server::{PublicationService, PublicationServiceServer};
use proto::catalog::v1::{
    AdvancePublicationRequest, BatchCreateProductsRequest, BatchCreateProductsResponse, ClearPriceRequest,
    ClearPriceResponse, ClearProductOverridesRequest, CreatePriceListRequest, CreateProductRequest,
    CreatePublicationRequest, CreateVariantRequest, ExplainProductRequest, ExplainProductResponse,
    GetInheritancePoliciesRequest, GetInheritancePoliciesResponse, GetPriceListRequest, GetPriceRequest,
    GetProductRequest, GetPublicationRequest, GetVariantRequest, InheritancePolicy,
    ListInheritedChangesRequest, ListInheritedChangesResponse, ListPriceChangesRequest,
    ListPriceChangesResponse, ListPriceListsRequest, ListPriceListsResponse, ListProductsRequest,
    ListProductsResponse, ListPublicationsRequest, ListPublicationsResponse, ListUnitsRequest,
    ListUnitsResponse, ListVariantsRequest, ListVariantsResponse, PreviewPublicationRequest,
    PreviewPublicationResponse, Price, PriceChange, PriceList, Product, ProductVisibility, Publication,
    RollBackPublicationRequest, SetInheritancePolicyRequest, SetPriceRequest, SetProductVisibilityRequest,
    SetUnitConversionRequest, UpdateProductRequest, UpdateVariantRequest, Variant, product_result,
};
use rpc::{System, Transport};
use tonic::{Request, Response, Status};

use crate::app::{CHANGES_MAX, Catalog};
use crate::convert;
use crate::tasks::Follower;

/// Largest request, in bytes: a batch of a thousand products with long descriptions.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the service needs to be permitted elsewhere.
pub const NEEDS: [&str; 2] = ["tenant.read", "descendants.read"];

type Answer<T> = Result<Response<T>, Status>;

/// The catalogue behind its gRPC interface.
pub struct Service {
    catalog: Arc<Catalog>,
}

impl Service {
    /// Makes the service over its store.
    pub fn new(store: SharedStore, env: Arc<dyn Env>) -> Arc<Service> {
        Arc::new(Service { catalog: Arc::new(Catalog::new(store, env)) })
    }

    /// Products and prices, to be mounted behind a guard.
    pub fn catalog(self: &Arc<Self>) -> CatalogServiceServer<Service> {
        CatalogServiceServer::from_arc(Arc::clone(self)).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// Publications, to be mounted behind a guard.
    pub fn publications(self: &Arc<Self>) -> PublicationServiceServer<Service> {
        PublicationServiceServer::from_arc(Arc::clone(self)).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// Tells where the tenant service is, which is asked for the tree of businesses: for callers as `system`, for
    /// the follower as `own`; both need [`NEEDS`].
    pub fn ask_tenant(&self, transport: Transport, system: System, own: System) {
        self.catalog.tree.ask(transport, system, own);
    }

    /// What tells businesses of changes above them: it hears of them from `heard`, this service's own journals, or, if
    /// nobody tells what changed, looks at all heads again and again.
    pub fn follower(&self, heard: Option<Arc<dyn events::Source>>) -> Follower {
        Follower::new(Arc::clone(&self.catalog), heard)
    }

    /// What is inherited, to be mounted behind a guard.
    pub fn inheritance(self: &Arc<Self>) -> InheritanceServiceServer<Service> {
        InheritanceServiceServer::from_arc(Arc::clone(self))
    }
}

#[tonic::async_trait]
impl CatalogService for Service {
    async fn create_product(&self, request: Request<CreateProductRequest>) -> Answer<Product> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "CreateProduct", &request);
        let new = convert::create_product(request, ctx.business, &self.catalog.ids(&mutation))
            .map_err(rpc::status)?;
        let saved = self.catalog.create_product(&ctx, &mutation, new).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::product(&saved.value), saved.replayed))
    }

    async fn batch_create_products(
        &self,
        request: Request<BatchCreateProductsRequest>,
    ) -> Answer<BatchCreateProductsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (atomic, count) = (request.atomic, request.products.len());
        let mutations = self.catalog.item_mutations(&ctx, "BatchCreateProducts", &request, count);
        let ids = mutations.iter().map(|mutation| self.catalog.ids(mutation));
        let items = convert::batch_create(request, ctx.business, ids).map_err(rpc::status)?;
        let items = mutations.into_iter().zip(items).collect();
        let results = self.catalog.create_products(&ctx, items, atomic).await.map_err(rpc::status)?;
        let replayed = results.iter().all(|result| result.as_ref().is_ok_and(|saved| saved.replayed));
        let answer = convert::results(&results);
        let refused = answer.results.iter().find_map(|result| match &result.result {
            Some(product_result::Result::Problem(problem)) => rpc::noted_problem(problem),
            _ => None,
        });
        Ok(rpc::respond_items(answer, replayed, refused))
    }

    async fn get_product(&self, request: Request<GetProductRequest>) -> Answer<Product> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::product_id(&request.product_id).map_err(rpc::status)?;
        if request.origins {
            let found = self.catalog.get_origins(&ctx, id).await.map_err(rpc::status)?;
            return Ok(Response::new(convert::product_with_origins(&found.0, &found.1)));
        }
        let product = self.catalog.get_product(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::product(&product)))
    }

    async fn list_products(&self, request: Request<ListProductsRequest>) -> Answer<ListProductsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let page = convert::page(request.page_size, request.page_token);
        let products = self.catalog.list_products(&ctx, &page).await.map_err(rpc::status)?;
        Ok(Response::new(convert::products(&products)))
    }

    async fn update_product(&self, request: Request<UpdateProductRequest>) -> Answer<Product> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "UpdateProduct", &request);
        let (id, change) = convert::update_product(request).map_err(rpc::status)?;
        let saved = self.catalog.update_product(&ctx, &mutation, id, change).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::product(&saved.value), saved.replayed))
    }

    async fn create_variant(&self, request: Request<CreateVariantRequest>) -> Answer<Variant> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "CreateVariant", &request);
        let (product, new) =
            convert::create_variant(request, &self.catalog.ids(&mutation)).map_err(rpc::status)?;
        let saved = self.catalog.create_variant(&ctx, &mutation, product, new).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::variant(&saved.value), saved.replayed))
    }

    async fn get_variant(&self, request: Request<GetVariantRequest>) -> Answer<Variant> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::variant_id(&request.variant_id).map_err(rpc::status)?;
        let found = self.catalog.get_variant(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::variant(&found)))
    }

    async fn list_variants(&self, request: Request<ListVariantsRequest>) -> Answer<ListVariantsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let filter = convert::filter(&request).map_err(rpc::status)?;
        let page = convert::page(request.page_size, request.page_token);
        let variants = self.catalog.list_variants(&ctx, &filter, &page).await.map_err(rpc::status)?;
        Ok(Response::new(convert::variants(&variants)))
    }

    async fn update_variant(&self, request: Request<UpdateVariantRequest>) -> Answer<Variant> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "UpdateVariant", &request);
        let (id, change) = convert::update_variant(request).map_err(rpc::status)?;
        let saved = self.catalog.update_variant(&ctx, &mutation, id, change).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::variant(&saved.value), saved.replayed))
    }

    async fn set_unit_conversion(&self, request: Request<SetUnitConversionRequest>) -> Answer<Variant> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "SetUnitConversion", &request);
        let (id, factor) = convert::set_conversion(request).map_err(rpc::status)?;
        let saved =
            self.catalog.set_unit_conversion(&ctx, &mutation, id, factor).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::variant(&saved.value), saved.replayed))
    }

    async fn list_units(&self, request: Request<ListUnitsRequest>) -> Answer<ListUnitsResponse> {
        let (_, ListUnitsRequest {}) = rpc::open(request)?;
        Ok(Response::new(convert::units()))
    }

    async fn create_price_list(&self, request: Request<CreatePriceListRequest>) -> Answer<PriceList> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "CreatePriceList", &request);
        let new = convert::create_price_list(request, ctx.business, &self.catalog.ids(&mutation))
            .map_err(rpc::status)?;
        let saved = self.catalog.create_price_list(&ctx, &mutation, new).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::price_list(&saved.value), saved.replayed))
    }

    async fn get_price_list(&self, request: Request<GetPriceListRequest>) -> Answer<PriceList> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::price_list_id(&request.price_list_id).map_err(rpc::status)?;
        let list = self.catalog.get_price_list(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::price_list(&list)))
    }

    async fn list_price_lists(
        &self,
        request: Request<ListPriceListsRequest>,
    ) -> Answer<ListPriceListsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let page = convert::page(request.page_size, request.page_token);
        let lists = self.catalog.list_price_lists(&ctx, &page).await.map_err(rpc::status)?;
        Ok(Response::new(convert::price_lists(&lists)))
    }

    async fn set_price(&self, request: Request<SetPriceRequest>) -> Answer<PriceChange> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "SetPrice", &request);
        let new = convert::set_price(request).map_err(rpc::status)?;
        let saved = self.catalog.set_price(&ctx, &mutation, new).await.map_err(rpc::status)?;
        let (list, change) = &saved.value;
        Ok(rpc::respond(convert::price_change(list, change), saved.replayed))
    }

    async fn clear_price(&self, request: Request<ClearPriceRequest>) -> Answer<ClearPriceResponse> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "ClearPrice", &request);
        let (line, reason) = convert::clear_price(request).map_err(rpc::status)?;
        let saved = self.catalog.clear_price(&ctx, &mutation, line, reason).await.map_err(rpc::status)?;
        let (list, cleared) = &saved.value;
        Ok(rpc::respond(convert::cleared(list, cleared), saved.replayed))
    }

    async fn get_price(&self, request: Request<GetPriceRequest>) -> Answer<Price> {
        let (ctx, request) = rpc::open(request)?;
        let (list, variant, unit, at) = convert::get_price(&request).map_err(rpc::status)?;
        let found = self.catalog.get_price(&ctx, list, variant, unit, at).await.map_err(rpc::status)?;
        Ok(Response::new(convert::price(&found)))
    }

    async fn list_price_changes(
        &self,
        request: Request<ListPriceChangesRequest>,
    ) -> Answer<ListPriceChangesResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (line, business) = convert::list_price_changes(&request).map_err(rpc::status)?;
        let page = convert::page(request.page_size, request.page_token);
        let found =
            self.catalog.list_price_changes(&ctx, line, business, &page).await.map_err(rpc::status)?;
        Ok(Response::new(convert::price_changes(&found)))
    }
}

#[tonic::async_trait]
impl InheritanceService for Service {
    async fn set_inheritance_policy(
        &self,
        request: Request<SetInheritancePolicyRequest>,
    ) -> Answer<InheritancePolicy> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "SetInheritancePolicy", &request);
        let wish = convert::set_policy(request, &ctx).map_err(rpc::status)?;
        let saved = self.catalog.set_policy(&ctx, &mutation, wish).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::policy(&saved.value), saved.replayed))
    }

    async fn get_inheritance_policies(
        &self,
        request: Request<GetInheritancePoliciesRequest>,
    ) -> Answer<GetInheritancePoliciesResponse> {
        let (ctx, GetInheritancePoliciesRequest {}) = rpc::open(request)?;
        let found = self.catalog.standing_policies(&ctx).await.map_err(rpc::status)?;
        Ok(Response::new(convert::policies(&found)))
    }

    async fn clear_product_overrides(
        &self,
        request: Request<ClearProductOverridesRequest>,
    ) -> Answer<Product> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "ClearProductOverrides", &request);
        let (id, fields, reason) = convert::clear_overrides(request).map_err(rpc::status)?;
        let saved = self.catalog.clear_overrides(&ctx, &mutation, id, fields, reason).await;
        let saved = saved.map_err(rpc::status)?;
        Ok(rpc::respond(convert::product(&saved.value), saved.replayed))
    }

    async fn set_product_visibility(
        &self,
        request: Request<SetProductVisibilityRequest>,
    ) -> Answer<ProductVisibility> {
        let (ctx, request) = rpc::open(request)?;
        let mutation = self.catalog.mutation(&ctx, "SetProductVisibility", &request);
        let (id, visibility, reason) = convert::set_visibility(request).map_err(rpc::status)?;
        let saved = self.catalog.set_visibility(&ctx, &mutation, id, visibility, reason).await;
        let saved = saved.map_err(rpc::status)?;
        Ok(rpc::respond(convert::visibility(&saved.value), saved.replayed))
    }

    async fn explain_product(
        &self,
        request: Request<ExplainProductRequest>,
    ) -> Answer<ExplainProductResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (id, field, at) = convert::explain(&request).map_err(rpc::status)?;
        let found = self.catalog.explain_product(&ctx, id, field, at).await.map_err(rpc::status)?;
        Ok(Response::new(convert::explained(&found)))
    }

    async fn list_inherited_changes(
        &self,
        request: Request<ListInheritedChangesRequest>,
    ) -> Answer<ListInheritedChangesResponse> {
        let (ctx, request) = rpc::open(request)?;
        let (product, after, page) = convert::list_inherited_changes(request).map_err(rpc::status)?;
        let found = self.catalog.list_inherited_changes(&ctx, product, after, &page).await;
        Ok(Response::new(convert::inherited_changes(&found.map_err(rpc::status)?)))
    }
}

#[tonic::async_trait]
impl PublicationService for Service {
    async fn preview_publication(
        &self,
        request: Request<PreviewPublicationRequest>,
    ) -> Answer<PreviewPublicationResponse> {
        let (ctx, request) = rpc::open(request)?;
        let new = convert::new_publication(request.publication).map_err(rpc::status)?;
        let page = convert::page(request.page_size, request.page_token);
        let found = self.catalog.preview_publication(&ctx, &new, &page).await.map_err(rpc::status)?;
        Ok(Response::new(convert::preview(&found)))
    }

    async fn create_publication(&self, request: Request<CreatePublicationRequest>) -> Answer<Publication> {
        let (ctx, request) = rpc::open(request)?;
        let mutations = self.catalog.item_mutations(&ctx, "CreatePublication", &request, CHANGES_MAX);
        let new = convert::new_publication(request.publication).map_err(rpc::status)?;
        let saved = self.catalog.create_publication(&ctx, &mutations, &new).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::publication(&saved.value), saved.replayed))
    }

    async fn get_publication(&self, request: Request<GetPublicationRequest>) -> Answer<Publication> {
        let (ctx, request) = rpc::open(request)?;
        let id = convert::publication_id(&request.publication_id).map_err(rpc::status)?;
        let found = self.catalog.publication(&ctx, id).await.map_err(rpc::status)?;
        Ok(Response::new(convert::publication(&found)))
    }

    async fn list_publications(
        &self,
        request: Request<ListPublicationsRequest>,
    ) -> Answer<ListPublicationsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let page = convert::page(request.page_size, request.page_token);
        let found = self.catalog.publications(&ctx, &page).await.map_err(rpc::status)?;
        Ok(Response::new(convert::publications(&found)))
    }

    async fn advance_publication(&self, request: Request<AdvancePublicationRequest>) -> Answer<Publication> {
        let (ctx, request) = rpc::open(request)?;
        let mutations = self.catalog.item_mutations(&ctx, "AdvancePublication", &request, CHANGES_MAX);
        let (id, stage) = convert::advance(&request).map_err(rpc::status)?;
        let saved = self.catalog.advance_publication(&ctx, &mutations, id, stage).await;
        let saved = saved.map_err(rpc::status)?;
        Ok(rpc::respond(convert::publication(&saved.value), saved.replayed))
    }

    async fn roll_back_publication(
        &self,
        request: Request<RollBackPublicationRequest>,
    ) -> Answer<Publication> {
        let (ctx, request) = rpc::open(request)?;
        let mutations = self.catalog.item_mutations(&ctx, "RollBackPublication", &request, CHANGES_MAX);
        let (id, why) = convert::roll_back(request).map_err(rpc::status)?;
        let saved = self.catalog.roll_back_publication(&ctx, &mutations, id, &why).await;
        let saved = saved.map_err(rpc::status)?;
        Ok(rpc::respond(convert::publication(&saved.value), saved.replayed))
    }
}
