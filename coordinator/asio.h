// The one place that includes Asio.
#ifndef ISTHMUS_COORDINATOR_ASIO_H_
#define ISTHMUS_COORDINATOR_ASIO_H_

#include "absl/base/config.h"

// ThreadSanitizer does not model stand-alone fences; Asio's come on top of its queue's mutex.
#ifdef ABSL_HAVE_THREAD_SANITIZER
#define BOOST_ASIO_DISABLE_FENCED_BLOCK 1
#endif

// Boost 1.74's headers use std::exchange and need <utility> before them.
// clang-format off
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
// clang-format on

#endif  // ISTHMUS_COORDINATOR_ASIO_H_
