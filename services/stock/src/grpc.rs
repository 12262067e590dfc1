//! The edge: takes requests apart, calls a use case, puts answers together.

use proto::api::v1::Problem;
use proto::stock::v1 as pb;
use proto::stock::v1::stock_service_server::StockService;
use rpc::Ctx;
use tonic::{Request, Response, Status};

use crate::app::limits::only_here;
use crate::app::{Stock, post};
use crate::convert;
use crate::edge;
use crate::error::Error;

type Answer<T> = Result<Response<T>, Status>;

const POST: &str = "/cargopilot.stock.v1.StockService/PostMovement";
const BATCH_POST: &str = "/cargopilot.stock.v1.StockService/BatchPostMovements";
const REVERSE: &str = "/cargopilot.stock.v1.StockService/ReverseMovement";
const CREATE_LOCATION: &str = "/cargopilot.stock.v1.StockService/CreateLocation";
const BATCH_LOCATIONS: &str = "/cargopilot.stock.v1.StockService/BatchCreateLocations";
const UPDATE_LOCATION: &str = "/cargopilot.stock.v1.StockService/UpdateLocation";

#[tonic::async_trait]
impl StockService for Stock {
    async fn create_location(&self, request: Request<pb::CreateLocationRequest>) -> Answer<pb::Location> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, CREATE_LOCATION, key(&ctx), &request, journal::Keep::USUAL);
        let draft = convert::location_draft("location", request.location).map_err(rpc::status)?;
        let (location, revision, replayed) =
            self.create_location(&ctx, draft, meta).await.map_err(rpc::status)?;
        Ok(rpc::respond(convert::location(&location, revision), replayed))
    }

    async fn batch_create_locations(
        &self,
        request: Request<pb::BatchCreateLocationsRequest>,
    ) -> Answer<pb::BatchCreateLocationsResponse> {
        let (ctx, request) = rpc::open(request)?;
        edge::batch_size("locations", request.locations.len()).map_err(rpc::status)?;
        let atomic = request.atomic;
        let drafts = request.locations.into_iter().enumerate().map(|(at, location)| {
            let key = key(&ctx).map(|key| edge::item_key(key, at));
            let meta = self.meta(&ctx, BATCH_LOCATIONS, key.as_deref(), &location, journal::Keep::USUAL);
            Ok((convert::location_draft(&format!("locations[{at}]"), Some(location))?, meta))
        });
        let results = if atomic {
            let drafts = edge::all_valid(drafts).map_err(rpc::status)?;
            let made =
                self.create_locations_all(&ctx, drafts).await.map_err(|(_, error)| rpc::status(error))?;
            made.into_iter().map(Ok).collect()
        } else {
            self.create_locations_each(&ctx, drafts.collect()).await
        };
        let replayed = results.iter().all(|result| matches!(result, Ok((_, _, true))));
        let results = results.into_iter().map(|result| pb::LocationResult {
            result: Some(match result {
                Ok((location, revision, _)) => {
                    pb::location_result::Result::Location(convert::location(&location, revision))
                }
                Err(error) => pb::location_result::Result::Problem(problem(&error)),
            }),
        });
        let answer = pb::BatchCreateLocationsResponse { results: results.collect() };
        let refused = answer.results.iter().find_map(|result| match &result.result {
            Some(pb::location_result::Result::Problem(problem)) => rpc::noted_problem(problem),
            _ => None,
        });
        Ok(rpc::respond_items(answer, replayed, refused))
    }

    async fn get_location(&self, request: Request<pb::GetLocationRequest>) -> Answer<pb::Location> {
        let (ctx, request) = rpc::open(request)?;
        let id =
            convert::id("location_id", &request.location_id, ids::LocationId::parse).map_err(rpc::status)?;
        let (location, revision) = self.location(&ctx, id).await.map_err(rpc::status)?;
        self.within(&ctx, &[id], None).await.map_err(rpc::status)?;
        Ok(Response::new(convert::location(&location, revision)))
    }

    async fn list_locations(
        &self,
        request: Request<pb::ListLocationsRequest>,
    ) -> Answer<pb::ListLocationsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = edge::page_size(request.page_size).map_err(rpc::status)?;
        edge::code_filter(&request.code).map_err(rpc::status)?;
        let page = self.list_locations(&ctx, &request.code, size, &request.page_token).await;
        let (locations, next) = page.map_err(rpc::status)?;
        let locations = locations.iter().map(|(location, revision)| convert::location(location, *revision));
        let next_page_token = next.unwrap_or_default();
        Ok(Response::new(pb::ListLocationsResponse { locations: locations.collect(), next_page_token }))
    }

    async fn update_location(&self, request: Request<pb::UpdateLocationRequest>) -> Answer<pb::Location> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, UPDATE_LOCATION, key(&ctx), &request, journal::Keep::USUAL);
        let id =
            convert::id("location_id", &request.location_id, ids::LocationId::parse).map_err(rpc::status)?;
        let change = convert::location_change(&request).map_err(rpc::status)?;
        let updated = self.update_location(&ctx, id, change, meta).await;
        let (location, revision, replayed) = updated.map_err(rpc::status)?;
        Ok(rpc::respond(convert::location(&location, revision), replayed))
    }

    async fn post_movement(&self, request: Request<pb::PostMovementRequest>) -> Answer<pb::Posting> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, POST, key(&ctx), &request, post::KEEP);
        let draft = convert::movement_draft("movement", request.movement).map_err(rpc::status)?;
        let done = self.post(&ctx, draft, meta).await.map_err(rpc::status)?;
        self.answer(&ctx, done).await
    }

    async fn batch_post_movements(
        &self,
        request: Request<pb::BatchPostMovementsRequest>,
    ) -> Answer<pb::BatchPostMovementsResponse> {
        let (ctx, request) = rpc::open(request)?;
        edge::batch_size("movements", request.movements.len()).map_err(rpc::status)?;
        let (atomic, omit) = (request.atomic, request.omit_movements);
        let drafts = request.movements.into_iter().enumerate().map(|(at, movement)| {
            let key = match movement.idempotency_key.as_str() {
                "" => key(&ctx).map(|batch| edge::item_key(batch, at)),
                own => Some(own.to_owned()),
            };
            let meta = self.meta(&ctx, BATCH_POST, key.as_deref(), &movement, post::KEEP);
            Ok((convert::movement_draft(&format!("movements[{at}]"), Some(movement))?, meta))
        });
        let drafts = edge::each_key_once(drafts);
        let results = if atomic {
            let drafts = edge::all_valid(drafts).map_err(rpc::status)?;
            let done = self.post_all(&ctx, drafts).await.map_err(|(_, error)| rpc::status(error))?;
            done.into_iter().map(Ok).collect()
        } else {
            self.post_each(&ctx, drafts.collect()).await
        };
        let replayed = results.iter().all(|result| result.as_ref().is_ok_and(|done| done.replayed));
        let mut answers = Vec::with_capacity(results.len());
        for result in results {
            let posting = match result {
                Ok(done) if omit => Ok(pb::Posting { movements: vec![], replayed: done.replayed }),
                Ok(done) => self.posting(&ctx, done).await,
                Err(error) => Err(error),
            };
            answers.push(pb::PostingResult {
                result: Some(match posting {
                    Ok(posting) => pb::posting_result::Result::Posting(posting),
                    Err(error) => pb::posting_result::Result::Problem(problem(&error)),
                }),
            });
        }
        let refused = answers.iter().find_map(|answer| match &answer.result {
            Some(pb::posting_result::Result::Problem(problem)) => rpc::noted_problem(problem),
            _ => None,
        });
        let answer = pb::BatchPostMovementsResponse { results: answers };
        Ok(rpc::respond_items(answer, replayed, refused))
    }

    async fn reverse_movement(&self, request: Request<pb::ReverseMovementRequest>) -> Answer<pb::Posting> {
        let (ctx, request) = rpc::open(request)?;
        let meta = self.meta(&ctx, REVERSE, key(&ctx), &request, post::KEEP);
        let id = convert::reversal(&request).map_err(rpc::status)?;
        let done =
            self.reverse(&ctx, id, request.reason_code, request.note, meta).await.map_err(rpc::status)?;
        self.answer(&ctx, done).await
    }

    async fn get_movement(&self, request: Request<pb::GetMovementRequest>) -> Answer<pb::Movement> {
        let (ctx, request) = rpc::open(request)?;
        let id =
            convert::id("movement_id", &request.movement_id, ids::MovementId::parse).map_err(rpc::status)?;
        Ok(Response::new(self.movement(&ctx, id).await.map_err(rpc::status)?))
    }

    async fn list_movements(
        &self,
        request: Request<pb::ListMovementsRequest>,
    ) -> Answer<pb::ListMovementsResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = edge::page_size(request.page_size).map_err(rpc::status)?;
        let filter = edge::filter(&request).map_err(rpc::status)?;
        let page = self.movements(&ctx, &filter, size, &request.page_token).await;
        let (movements, next) = page.map_err(rpc::status)?;
        Ok(Response::new(pb::ListMovementsResponse { movements, next_page_token: next.unwrap_or_default() }))
    }

    async fn get_balance(&self, request: Request<pb::GetBalanceRequest>) -> Answer<pb::ItemBalance> {
        let (ctx, request) = rpc::open(request)?;
        let id =
            convert::id("variant_id", &request.variant_id, ids::VariantId::parse).map_err(rpc::status)?;
        Ok(Response::new(self.balance(&ctx, id).await.map_err(rpc::status)?))
    }

    async fn list_balances(
        &self,
        request: Request<pb::ListBalancesRequest>,
    ) -> Answer<pb::ListBalancesResponse> {
        let (ctx, request) = rpc::open(request)?;
        let size = edge::page_size(request.page_size).map_err(rpc::status)?;
        let location = edge::optional_location(&request.location_id).map_err(rpc::status)?;
        let page = self.list_balances(&ctx, location, size, &request.page_token).await;
        let (balances, next) = page.map_err(rpc::status)?;
        Ok(Response::new(pb::ListBalancesResponse { balances, next_page_token: next.unwrap_or_default() }))
    }

    async fn find_on_hand(&self, request: Request<pb::FindOnHandRequest>) -> Answer<pb::FindOnHandResponse> {
        let (ctx, request) = rpc::open(request)?;
        let after = edge::after_variant(&request.after_variant_id).map_err(rpc::status)?;
        Ok(Response::new(self.find_on_hand(&ctx, after).await.map_err(rpc::status)?))
    }
}

impl Stock {
    async fn answer(&self, ctx: &Ctx, done: post::Done) -> Answer<pb::Posting> {
        let replayed = done.replayed;
        Ok(rpc::respond(self.posting(ctx, done).await.map_err(rpc::status)?, replayed))
    }

    /// The movements as they were posted: a replay gives the same bytes, whatever happened since.
    async fn posting(&self, ctx: &Ctx, done: post::Done) -> Result<pb::Posting, Error> {
        let everywhere = self.sees_everywhere(ctx, done.facts.variant).await.map_err(Error::after_commit)?;
        let mut movements = Vec::with_capacity(done.movements.len());
        for posted in &done.movements {
            let links = self.links(ctx, done.item, &posted.event, None).await.map_err(Error::after_commit)?;
            movements.push(only_here(everywhere, convert::movement(posted, &done.facts, links)));
        }
        Ok(pb::Posting { movements, replayed: done.replayed })
    }
}

fn key(ctx: &Ctx) -> Option<&str> {
    ctx.idempotency_key.as_deref()
}

fn problem(error: &Error) -> Problem {
    rpc::item_problem(error)
}
