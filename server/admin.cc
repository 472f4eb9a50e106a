#include "server/admin.h"

#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <exception>
#include <future>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spatialmamba {
namespace {

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kPrometheusText = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::array<std::string_view, 4> kPaths = {"/metrics", "/livez", "/readyz", "/version"};
// A slow scrape or two must not hold up a probe.
constexpr size_t kThreads = 4;

bool IsPage(std::string_view path) {
  return std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end();
}

void Configure(httplib::Server& server) {
  server.set_tcp_nodelay(true);
  // One request a connection: an idle connection would keep a thread, and make stopping late.
  server.set_keep_alive_max_count(1);
  server.set_keep_alive_timeout(1);
  server.set_read_timeout(2);
  server.set_write_timeout(5);
  server.set_payload_max_length(4096);
  // The library's default, SO_REUSEPORT, would let two servers listen on one address without a
  // word.
  server.set_socket_options([](int socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
}

void Route(const AdminPages& pages, httplib::Server& server) {
  using httplib::Request;
  using httplib::Response;
  server.set_pre_routing_handler([](const Request& request, Response& response) {
    if (!IsPage(request.path) || request.method == "GET" || request.method == "HEAD") {
      return httplib::Server::HandlerResponse::Unhandled;
    }
    response.status = 405;
    response.set_header("Allow", "GET, HEAD");
    response.set_content("Only GET and HEAD are allowed here.\n", kText);
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_error_handler([](const Request&, Response& response) {
    if (!response.body.empty()) return;
    response.set_content(response.status == 404
                             ? "Not found. This port has /metrics, /livez, /readyz and /version.\n"
                             : absl::StrCat("Error ", response.status, ".\n"),
                         kText);
  });
  server.set_exception_handler([](const Request&, Response& response, std::exception_ptr) {
    response.status = 500;
    response.set_content("The page could not be made.\n", kText);
  });
  server.Get("/metrics", [&pages](const Request&, Response& response) {
    response.set_content(pages.metrics(), kPrometheusText);
  });
  server.Get("/livez",
             [](const Request&, Response& response) { response.set_content("alive\n", kText); });
  server.Get("/readyz", [&pages](const Request&, Response& response) {
    const std::string reason = pages.not_ready();
    response.status = reason.empty() ? 200 : 503;
    response.set_content(reason.empty() ? "ready\n" : absl::StrCat("not ready: ", reason, "\n"),
                         kText);
  });
  server.Get("/version", [&pages](const Request&, Response& response) {
    response.set_content(pages.version, "application/json");
  });
}

}  // namespace

struct AdminServer::State {
  ~State() { server.stop(); }

  AdminPages pages;
  Endpoint address;
  std::promise<void> running;
  httplib::Server server;
  std::jthread thread;  // last: joined first, after `server` was told to stop
};

AdminServer::AdminServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

AdminServer::~AdminServer() = default;

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(const Endpoint& address,
                                                                AdminPages pages) {
  auto state = std::make_unique<State>();
  state->pages = std::move(pages);
  state->address = address;
  httplib::Server& server = state->server;
  Configure(server);
  Route(state->pages, server);
  // The library makes its threads once it runs: from then on it can be stopped.
  server.new_task_queue = [running = &state->running] {
    running->set_value();
    return new httplib::ThreadPool(kThreads);
  };
  if (address.port == 0) {
    state->address.port = server.bind_to_any_port(address.host);
  } else if (!server.bind_to_port(address.host, address.port)) {
    state->address.port = -1;
  }
  if (state->address.port < 0) {
    return absl::UnavailableError(absl::StrCat(
        "admin: cannot listen on ", address.ToString(),
        ": the address is in use or not of this machine; change admin or stop the other process"));
  }
  state->thread = std::jthread([&server] { server.listen_after_bind(); });
  state->running.get_future().wait();
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(state)));
}

const Endpoint& AdminServer::address() const { return state_->address; }

}  // namespace spatialmamba
