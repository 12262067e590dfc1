//! Publications.

use ids::{BusinessId, ProductId, PublicationId};
use inherit::{Value, WAVES_MAX};
use problem::{Invalid, Violations, reason};
use proto::catalog::v1 as catalog;

use super::check::{self, checked, output_only};
use super::inheritance::{REASON_MAX, businesses, value};
use super::product::published;
use super::timestamp;
use crate::app::{CHANGES_MAX, NewPublication, Page, Preview, Publication};
use crate::domain::{DUPLICATE, DetailsChange, Edition, Progress};

/// Businesses that all stages of a publication name: they are kept with each of its products.
const STAGED_MAX: usize = 1_000;

pub(crate) fn new_publication(publication: Option<catalog::Publication>) -> Result<NewPublication, Invalid> {
    checked(|v| {
        let publication = check::message(v, "publication", publication)?;
        v.within("publication", |v| new(v, publication))
    })
}

fn new(v: &mut Violations, publication: catalog::Publication) -> Option<NewPublication> {
    output_only(v, "id", !publication.id.is_empty());
    output_only(v, "business_id", !publication.business_id.is_empty());
    output_only(v, "state", publication.state != 0);
    output_only(v, "stage", publication.stage != 0);
    output_only(v, "created_at", publication.created_at.is_some());
    output_only(v, "created_by", !publication.created_by.is_empty());
    output_only(v, "ended_at", publication.ended_at.is_some());
    if publication.changes.is_empty() {
        v.add("changes", reason::REQUIRED, "must be given");
    }
    if !check::at_most(v, "changes", &publication.changes, CHANGES_MAX)
        || !check::at_most(v, "stages", &publication.stages, WAVES_MAX)
    {
        return None;
    }
    let mut changes: Vec<(ProductId, DetailsChange)> = Vec::with_capacity(publication.changes.len());
    for (at, change) in publication.changes.into_iter().enumerate() {
        v.within(format_args!("changes[{at}]"), |v| {
            let id = check::id(v, "product_id", &change.product_id, ProductId::parse);
            let change = published(v, change.product, &change.update_mask);
            if id.is_some_and(|id| changes.iter().any(|(known, _)| *known == id)) {
                v.add("product_id", DUPLICATE, "must be unique; it is there twice");
            }
            changes.extend(id.zip(change));
        });
    }
    let mut stages: Vec<Vec<BusinessId>> = Vec::with_capacity(publication.stages.len());
    for (at, stage) in publication.stages.iter().enumerate() {
        v.within(format_args!("stages[{at}]"), |v| {
            output_only(v, "started_at", stage.started_at.is_some());
            if stage.businesses.is_empty() {
                v.add("businesses", reason::REQUIRED, "must be given; everybody comes last by itself");
            }
            stages.extend(businesses(v, "businesses", &stage.businesses));
        });
    }
    if STAGED_MAX < stages.iter().map(Vec::len).sum() {
        v.add("stages", reason::TOO_MANY, format!("must name at most '{STAGED_MAX}' businesses together"));
    }
    let note = check::line(v, "note", &publication.note, REASON_MAX)?;
    Some(NewPublication { changes, stages, note })
}

pub(crate) fn publication_id(text: &str) -> Result<PublicationId, Invalid> {
    check::one_id("publication_id", text, PublicationId::parse)
}

pub(crate) fn advance(
    request: &catalog::AdvancePublicationRequest,
) -> Result<(PublicationId, usize), Invalid> {
    checked(|v| {
        let id = check::id(v, "publication_id", &request.publication_id, PublicationId::parse);
        if request.stage == 0 {
            v.add("stage", reason::REQUIRED, "must be given, from 1");
        }
        Some((id?, request.stage as usize))
    })
}

pub(crate) fn roll_back(
    request: catalog::RollBackPublicationRequest,
) -> Result<(PublicationId, String), Invalid> {
    checked(|v| {
        let id = check::id(v, "publication_id", &request.publication_id, PublicationId::parse);
        let why = check::line(v, "reason", &request.reason, REASON_MAX);
        Some((id?, why?))
    })
}

pub(crate) fn publication(found: &Publication) -> catalog::Publication {
    let Some((_, first)) = found.editions.first() else { return catalog::Publication::default() };
    let stages = first.published.stages.iter().enumerate();
    let stages = stages.map(|(at, named)| catalog::PublicationStage {
        businesses: named.iter().map(ToString::to_string).collect(),
        started_at: first.started.get(at).copied().and_then(timestamp),
    });
    let (state, ended_at) = match &first.progress {
        Progress::UnderWay => (catalog::PublicationState::UnderWay, None),
        Progress::Everywhere(at, _) => (catalog::PublicationState::Everywhere, Some(*at)),
        Progress::RolledBack(at) => (catalog::PublicationState::RolledBack, Some(*at)),
    };
    catalog::Publication {
        id: found.id.to_string(),
        business_id: found.business.to_string(),
        changes: found.editions.iter().map(|(product, edition)| change(*product, edition)).collect(),
        stages: stages.collect(),
        note: first.published.note.clone(),
        state: state.into(),
        stage: u32::try_from(first.stage()).unwrap_or(u32::MAX),
        created_at: timestamp(first.published.at),
        created_by: first.published.by.clone(),
        ended_at: ended_at.and_then(timestamp),
    }
}

fn change(product_id: ProductId, edition: &Edition) -> catalog::PublicationChange {
    let mut product = catalog::PublishedFields::default();
    let text = |value: &Value| if let Value::Text(text) = value { text.clone() } else { String::new() };
    for (field, value) in &edition.published.fields {
        match (field.as_str(), value) {
            ("name", value) => product.name = text(value),
            ("description", value) => product.description = text(value),
            ("brand", value) => product.brand = text(value),
            ("category", value) => product.category = text(value),
            (_, Value::List(items)) => product.tags.clone_from(items),
            _ => {}
        }
    }
    let update_mask = edition.published.fields.iter().map(|(field, _)| field.clone()).collect();
    catalog::PublicationChange { product_id: product_id.to_string(), product: Some(product), update_mask }
}

pub(crate) fn publications(page: &Page<Publication>) -> catalog::ListPublicationsResponse {
    let publications = page.items.iter().map(publication).collect();
    catalog::ListPublicationsResponse { publications, next_page_token: page.next.clone() }
}

pub(crate) fn preview(preview: &Preview) -> catalog::PreviewPublicationResponse {
    let differences = preview.differences.iter().map(|(product, one)| catalog::PublicationDifference {
        business_id: one.business.to_string(),
        product_id: product.to_string(),
        field: one.field.to_owned(),
        before: one.before.as_ref().map(value),
        after: one.after.as_ref().map(value),
    });
    catalog::PreviewPublicationResponse {
        differences: differences.collect(),
        businesses: u32::try_from(preview.businesses).unwrap_or(u32::MAX),
        next_page_token: preview.next.clone(),
    }
}
