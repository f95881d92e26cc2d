//! QUIC endpoints, framing and identity binding shared by nodes, coordinators and clients.
