//! Somebody who only looks.

use proto::stock::v1 as pb;
use proto::stock::v1::stock_service_client::StockServiceClient;

use crate::call::{Failure, named};
use crate::process::Process;
use crate::world::{Tenant, World};

/// Movements on a page.
const PAGE: u32 = 20;

impl World {
    /// Looks at a balance, or at a movement that was acknowledged.
    pub(crate) async fn look(&self) {
        let (_, tenant) = self.any_tenant();
        let item = self.dice.index(tenant.items.len());
        let Some(process) = self.any_process(item) else { return };
        match self.dice.below(10) {
            0..7 => _ = self.balance_of(&process, tenant, item).await,
            7 => self.foreign_balance(&process, tenant).await,
            _ => self.movement(&process).await,
        }
    }

    /// Looks at the balance of an item; true if it was shown.
    pub(crate) async fn balance_of(&self, process: &Process, tenant: &Tenant, item: usize) -> bool {
        let (variant, aggregate) = &tenant.items[item];
        let scope = (tenant.id, *aggregate);
        let low = self.model().heard(scope);
        let request = named(&tenant.key, "look", pb::GetBalanceRequest { variant_id: variant.clone() });
        let mut client = StockServiceClient::new(process.door());
        let answered = self.call(process, client.get_balance(request)).await;
        let mut model = self.model();
        match answered {
            Ok(shown) => {
                let verdict = model.balance(scope, low, &shown);
                self.judge(verdict);
                true
            }
            Err(failure) => self.may_fail(failure),
        }
    }

    /// Looks at the newest movements of an item; true if they were shown.
    pub(crate) async fn newest_of(&self, process: &Process, tenant: &Tenant, item: usize) -> bool {
        let (variant, aggregate) = &tenant.items[item];
        let scope = (tenant.id, *aggregate);
        let low = self.model().heard(scope);
        let request =
            pb::ListMovementsRequest { variant_id: variant.clone(), page_size: PAGE, ..Default::default() };
        let mut client = StockServiceClient::new(process.door());
        let answered = self.call(process, client.list_movements(named(&tenant.key, "list", request))).await;
        let mut model = self.model();
        match answered {
            Ok(page) => {
                let verdict = model.newest(scope, low, &page.movements);
                self.judge(verdict);
                true
            }
            Err(failure) => self.may_fail(failure),
        }
    }

    pub(crate) async fn list(&self) {
        let (_, tenant) = self.any_tenant();
        let item = self.dice.index(tenant.items.len());
        if let Some(process) = self.any_process(item) {
            self.newest_of(&process, tenant, item).await;
        }
    }

    /// INV-6: what is another tenant's is not there.
    async fn foreign_balance(&self, process: &Process, tenant: &Tenant) {
        let other = self.tenants.iter().find(|other| other.id != tenant.id).expect("two tenants");
        let variant_id = self.dice.pick(&other.items).0.clone();
        let request = named(&tenant.key, "look", pb::GetBalanceRequest { variant_id });
        let mut client = StockServiceClient::new(process.door());
        match self.call(process, client.get_balance(request)).await {
            Ok(shown) => self.judge(Err(format!("a tenant sees the stock of another: {shown:?}"))),
            Err(Failure::Refused(refused)) if refused.reason == "NOT_FOUND" => {}
            Err(failure) => _ = self.may_fail(failure),
        }
    }

    /// Looks at a movement that was acknowledged.
    async fn movement(&self, process: &Process) {
        let Some(posted) = self.any_posted() else { return };
        let request = pb::GetMovementRequest { movement_id: posted.movement.id.clone() };
        let request = named(&self.tenants[posted.wish.tenant].key, "look", request);
        let mut client = StockServiceClient::new(process.door());
        let answered = self.call(process, client.get_movement(request)).await;
        match answered {
            Ok(shown) => {
                let verdict = self.model().same(posted.line.item, &shown);
                self.judge(verdict);
            }
            Err(failure) => _ = self.may_fail(failure),
        }
    }

    /// A read may find nobody at home, but it is never refused.
    fn may_fail(&self, failure: Failure) -> bool {
        match failure {
            Failure::Refused(refused) => self.judge(Err(format!("a read was refused: {refused:?}"))),
            Failure::Broken(what) => self.judge(Err(what)),
            Failure::NoEffect | Failure::Unknown => {}
        }
        false
    }
}
