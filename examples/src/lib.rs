//! | How do I watch why calls wait, are refused or are repeated? | `cargo run --release -p steadfast-examples --example dashboard` |
//! Examples of steadfast: each file or folder beside this package's manifest answers one question.
//!
//! | Question | Answer |
//! | --- | --- |
//! | What does it do for me? | `cargo run --release -p steadfast-examples --example quickstart` |
//! | What do my clients do to a server that is down? | `cargo run --release -p steadfast-examples --example outage` |
//! | How do I send a file of requests, be killed in the middle, lose none and send none twice? | `cargo run --release -p steadfast-examples --example batch` |
//! | How do I keep to requests and tokens per minute, when the true cost is known only afterwards? | `cargo run -p steadfast-examples --example llm_limits` |
//! | How do I write an SDK for a search API: a key in a header, limits that its responses tell? | `cargo run -p steadfast-examples --example search_service` |
//! | How do I write an SDK for a chat API: requests and tokens per minute, true costs, answers that stream? | `cargo run -p steadfast-examples --example chat_service` |
//! | How do I give each customer a limit of their own? | `cargo run -p steadfast-examples --example per_customer` |
//! | How do I change a limit while callers wait for it? | `cargo run -p steadfast-examples --example live_change` |
//! | How do I put a pipeline before services of tower: hyper-util's client, reqwest, gRPC with tonic? | `cargo run -p steadfast-examples --example tower_hyper`, `tower_reqwest`, `tower_tonic` |
