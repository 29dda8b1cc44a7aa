// The one place that includes Asio: Boost 1.74's headers use std::exchange without <utility> under
// C++20.
#ifndef ISTHMUS_COORDINATOR_ASIO_H_
#define ISTHMUS_COORDINATOR_ASIO_H_

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#endif  // ISTHMUS_COORDINATOR_ASIO_H_
