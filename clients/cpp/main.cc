#include <iostream>

#include "clients/cpp/cli.h"

int main(int argc, char** argv) {
  return spatialmamba::RunCommandLine(argc, argv, {std::cout, std::cerr});
}
