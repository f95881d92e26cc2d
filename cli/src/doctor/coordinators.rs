//! Whether coordinators can be reached.

use super::Check;
use crate::identity;
use crate::network::{CoordinatorName, block_on};
use anyhow::Result;
use depx_protocol::wire::ALPN_CLIENT;
use depx_transport::{chain, client_endpoint, dial};
use std::time::Duration;
use tokio::time::timeout;

/// Dials each over UDP, as a client with a key of the moment: the coordinator sees no node come and go.
pub(super) fn reach(coordinators: &[CoordinatorName], tell: &mut impl FnMut(Check)) -> Result<()> {
    if coordinators.is_empty() {
        let remedy = "set coordinators in the configuration file, or name one with --coordinator";
        tell(Check::failed("coordinator", "none is named", remedy));
        return Ok(());
    }
    let (coordinators, key) = (coordinators.to_vec(), identity::random()?);
    let checks = block_on(async move {
        let (endpoint, _) = client_endpoint(ALPN_CLIENT)?;
        let mut checks = Vec::new();
        for coordinator in coordinators {
            let name = "coordinator";
            let remote = match coordinator.resolve() {
                Ok(remote) => remote,
                Err(error) => {
                    checks.push(Check::failed(name, format!("{coordinator}: {error:#}"), "mend its name, or DNS"));
                    continue;
                }
            };
            checks.push(match dial(&endpoint, remote, coordinator.address, &key, None).await {
                Ok(dialled) => {
                    let trip = dialled.connection.rtt().as_secs_f64() * 1e3;
                    dialled.connection.close(0u8.into(), b"only looking");
                    Check::ok(name, format!("{coordinator} answers over UDP, round trip {trip:.1} ms"))
                }
                Err(error) => Check::failed(
                    name,
                    format!("{coordinator}: {}", chain(&error)),
                    format!(
                        "let UDP out to port {}, and ask its operator whether it runs and has this name",
                        remote.port()
                    ),
                ),
            });
        }
        // So that coordinators hear of the end; those that do not answer need not.
        let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
        Ok(checks)
    })?;
    checks.into_iter().for_each(tell);
    Ok(())
}
