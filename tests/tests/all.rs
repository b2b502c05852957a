//! One module per subject.

mod faulty_server;
